"""The plan as a table: what is desired and observed, and what is to be done. No server takes part in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from signet_torchserve.control.desired import Desired
from signet_torchserve.control.failed_attempts import FailedAttempts
from signet_torchserve.control.observed import Deployment, Observed, RunningDrain, RunningRollout, Version
from signet_torchserve.control.plan import (
    HOLD_S,
    Begin,
    Cancel,
    DeleteArchives,
    Ensure,
    Hold,
    Recall,
    Remove,
    Wait,
    plan,
)
from signet_torchserve.control.plan import Drain as DrainAction
from signet_torchserve.revision import SERVED_AT, Revision

NOW = 1000.0
V1, V2 = Revision("1", created=7), Revision("2", created=7)
TWO_WORKERS = Revision("1", {"serving.workers": "2"}, 7)
ANEW = Revision("1", created=8)
SERVED = Revision("2", {SERVED_AT: "2026"}, 7)


def version(revision: Revision | None, workers: int = 1, *, is_idle: bool = True) -> Version:
    return Version(revision, workers, is_idle=is_idle)


def has(default: Revision | None, *others: Revision, workers: int = 1, is_idle: bool = True) -> dict[str, Deployment]:
    """A model whose default version is `default`, and that has others."""
    versions = {it.id: version(it, workers, is_idle=is_idle) for it in (default, *others) if it}
    return {"iris": Deployment(default.id if default else None, versions)}


def proven(*revisions: Revision) -> set[tuple[str, tuple[int, str]]]:
    return {("iris", it.identity) for it in revisions}


def wants(revision: Revision | None, **options: Any) -> Desired:
    return Desired({"iris": revision} if revision else {}, models={"iris"}, **options)


def failed(revision: Revision) -> FailedAttempts:
    attempts = FailedAttempts()
    attempts.failed("iris", revision, NOW)
    return attempts


def refused(revision: Revision) -> FailedAttempts:
    attempts = FailedAttempts()
    attempts.refused("iris", revision)
    return attempts


def unreachable(revision: Revision) -> FailedAttempts:
    attempts = FailedAttempts()
    attempts.unreachable("iris", revision, NOW)
    return attempts


OLD = {("iris", "1"): RunningDrain(NOW - 1, was_idle=True)}
LATE = {("iris", "1"): RunningDrain(NOW - 61)}
NEW_ROLLOUT = RunningRollout("iris", V2, "cached_replacement")

# What is so: (desired, observed, attempts, actions)
STATES: dict[str, tuple[Desired, Observed, FailedAttempts, list[Any]]] = {
    "what is desired answers and is proven": (wants(V1), Observed(has(V1), proven=proven(V1)), FailedAttempts(), []),
    "nothing is desired and nothing is there": (wants(None), Observed(), FailedAttempts(), []),
    "what answers is not proven yet, as after a start": (
        wants(V1),
        Observed(has(V1), cached=proven(V1)),
        FailedAttempts(),
        [Begin("iris", V1, "cached_replacement")],
    ),
    "a version by hand made the default": (
        wants(V2),
        Observed(has(V1, V2), proven=proven(V1, V2), cached=proven(V2)),
        FailedAttempts(),
        [Begin("iris", V2, "cached_replacement")],
    ),
    "another version is desired, whose archive is cached": (
        wants(V2),
        Observed(has(V1), proven=proven(V1), cached=proven(V2)),
        FailedAttempts(),
        [Begin("iris", V2, "cached_replacement")],
    ),
    "another version is desired, which must be fetched": (
        wants(V2),
        Observed(has(V1), proven=proven(V1)),
        FailedAttempts(),
        [Begin("iris", V2, "other")],
    ),
    "its rollout is on its way": (
        wants(V2),
        Observed(has(V1, V2), rollouts=[NEW_ROLLOUT], proven=proven(V1)),
        FailedAttempts(),
        [],
    ),
    "a default that the server took over although the call failed": (
        wants(V2),
        Observed(has(V2, V1), proven=proven(V1, V2)),
        failed(V2),
        [DrainAction("iris", "1")],
    ),
    "the same, and the alias is back on the version before": (
        wants(V1),
        Observed(has(V2, V1), proven=proven(V1, V2), cached=proven(V1), draining=OLD),
        FailedAttempts(),
        [Begin("iris", V1, "cached_replacement")],
    ),
    "a worker that was scaled by hand, or a version taken back with one of its two": (
        wants(TWO_WORKERS),
        Observed(has(TWO_WORKERS), proven=proven(TWO_WORKERS)),
        FailedAttempts(),
        [Ensure("iris", TWO_WORKERS)],
    ),
    "as many workers as its tags say": (
        wants(TWO_WORKERS),
        Observed(has(TWO_WORKERS, workers=2), proven=proven(TWO_WORKERS)),
        FailedAttempts(),
        [],
    ),
    "a version unregistered by hand": (
        wants(SERVED),
        Observed({}, proven=proven(SERVED), cached=proven(SERVED)),
        FailedAttempts(),
        [Begin("iris", SERVED, "other")],
    ),
    "a version that failed a moment ago": (
        wants(V2),
        Observed(has(V1, V2), proven=proven(V1)),
        failed(V2),
        [DrainAction("iris", "2")],
    ),
    "a version that was refused": (wants(V2), Observed(has(V1), proven=proven(V1)), refused(V2), []),
    "files that could not be fetched": (wants(V2), Observed(has(V1), proven=proven(V1)), unreachable(V2), []),
    "a version that answers and failed to prove itself": (
        wants(V1),
        Observed(has(V1)),
        failed(V1),
        [DrainAction("iris", "1")],
    ),
    "a new deployment, of which nobody has asked what served last": (
        wants(V2),
        Observed(),
        FailedAttempts(),
        [Recall("iris", V2.created)],
    ),
    "a new deployment that has never served": (
        wants(V2),
        Observed(last_good={"iris": None}),
        FailedAttempts(),
        [Begin("iris", V2, "other")],
    ),
    "a new deployment of which another version served last": (
        wants(V2),
        Observed(last_good={"iris": V1}),
        FailedAttempts(),
        [Begin("iris", V1, "other")],
    ),
    "the same, and what served last cannot": (
        wants(V2),
        Observed(last_good={"iris": V1}),
        failed(V1),
        [Begin("iris", V2, "other")],
    ),
    "what served last is another model's of the same name": (
        wants(ANEW),
        Observed(last_good={"iris": V2}),
        FailedAttempts(),
        [Begin("iris", ANEW, "other")],
    ),
    "nothing answers, and what is desired is refused": (
        wants(V2),
        Observed(last_good={"iris": V1}),
        refused(V2),
        [Begin("iris", V1, "other")],
    ),
    "what served last comes back": (
        wants(V2),
        Observed(has(None, V1), rollouts=[RunningRollout("iris", V1, "other")], last_good={"iris": V1}),
        FailedAttempts(),
        [],
    ),
    "a rollout of what is desired no more": (
        wants(V1),
        Observed(has(V1), rollouts=[NEW_ROLLOUT], proven=proven(V1)),
        FailedAttempts(),
        [Cancel("iris", "1")],
    ),
    "a rollout of a model without the alias": (
        wants(None),
        Observed(rollouts=[NEW_ROLLOUT]),
        FailedAttempts(),
        [Cancel("iris", None)],
    ),
    "a cancelled rollout that is not over keeps its version": (
        wants(V1),
        Observed(has(V1, V2), rollouts=[RunningRollout("iris", V2, "other", is_cancelled=True)], proven=proven(V1)),
        FailedAttempts(),
        [],
    ),
    "a cancelled rollout of what is desired again": (
        wants(V2),
        Observed(has(V1), rollouts=[RunningRollout("iris", V2, "other", is_cancelled=True)], proven=proven(V1)),
        FailedAttempts(),
        [Wait("iris")],
    ),
    "a version that was replaced": (
        wants(V2),
        Observed(has(V2, V1), proven=proven(V1, V2)),
        FailedAttempts(),
        [DrainAction("iris", "1")],
    ),
    "a version that is at work": (
        wants(V2),
        Observed(has(V2, V1, is_idle=False), proven=proven(V1, V2), draining=OLD),
        FailedAttempts(),
        [DrainAction("iris", "1")],
    ),
    "a version that was idle at two looks": (
        wants(V2),
        Observed(has(V2, V1), proven=proven(V1, V2), draining=OLD),
        FailedAttempts(),
        [DrainAction("iris", "1"), Remove("iris", "1")],
    ),
    "a version that is at work for longer than a request may take": (
        wants(V2),
        Observed(has(V2, V1, is_idle=False), proven=proven(V1, V2), draining=LATE),
        FailedAttempts(),
        [DrainAction("iris", "1"), Remove("iris", "1", at_any_cost=True)],
    ),
    "a version whose removal does not end": (
        wants(V2),
        Observed(has(V2, V1), proven=proven(V1, V2), draining=LATE, ending={("iris", "1")}),
        FailedAttempts(),
        [DrainAction("iris", "1")],
    ),
    "a version that is desired while it is being removed": (
        wants(V1),
        Observed(has(V2, V1), proven=proven(V1, V2), cached=proven(V1), ending={("iris", "1")}),
        FailedAttempts(),
        [Wait("iris")],
    ),
    "a version that somebody registered by hand": (
        wants(V2),
        Observed({"iris": Deployment("2", {"2": version(V2), "9": version(None)})}, proven=proven(V2)),
        FailedAttempts(),
        [DrainAction("iris", "9")],
    ),
    "a model that was deleted and made anew": (
        wants(ANEW),
        Observed(has(V1), proven=proven(V1), draining=OLD),
        FailedAttempts(),
        [Wait("iris"), DrainAction("iris", "1"), Remove("iris", "1")],
    ),
    "nothing but the placeholder, and what is desired failed": (
        wants(V2),
        Observed(has(None), last_good={"iris": None}),
        failed(V2),
        [Remove("iris", "not-yet")],
    ),
    "nothing but the placeholder, while the first version is fetched": (
        wants(V2),
        Observed(has(None), rollouts=[RunningRollout("iris", V2, "other")]),
        FailedAttempts(),
        [],
    ),
    "the alias of the only deployment is taken away, and the model is still there": (
        Desired({}, models=frozenset({"iris"}), unlisted_since={"iris": NOW}),
        Observed(has(V1), proven=proven(V1)),
        FailedAttempts(),
        [DrainAction("iris", "1")],
    ),
    "the registry lists nothing of all that answers": (
        Desired({}, unlisted_since={"iris": NOW}),
        Observed(has(V1), proven=proven(V1)),
        FailedAttempts(),
        [Hold(("iris",))],
    ),
    "it has said so for a while": (
        Desired({}, unlisted_since={"iris": NOW - HOLD_S}),
        Observed(has(V1), proven=proven(V1)),
        FailedAttempts(),
        [DrainAction("iris", "1")],
    ),
    "one of two deployments is without the alias": (
        Desired({"digits": V1}, models={"iris", "digits"}, unlisted_since={"iris": NOW}),
        Observed(
            {**has(V1), "digits": Deployment("1", {"1": version(V1)})}, proven={*proven(V1), ("digits", V1.identity)}
        ),
        FailedAttempts(),
        [DrainAction("iris", "1")],
    ),
    "a withdrawn deployment's default ends after its other versions": (
        Desired({}, unlisted_since={"iris": NOW - HOLD_S}),
        Observed(has(V1, V2), proven=proven(V1), draining=OLD),
        FailedAttempts(),
        [DrainAction("iris", "1"), DrainAction("iris", "2")],
    ),
    "the registry is away, and nobody remembers what it wanted": (
        Desired({}, is_known=False),
        Observed(has(V1), rollouts=[NEW_ROLLOUT], proven=proven(V1), archived={"iris", "other"}),
        FailedAttempts(),
        [],
    ),
    "archives of a model that was deleted": (
        wants(V1),
        Observed(has(V1), proven=proven(V1), archived={"iris", "gone"}),
        FailedAttempts(),
        [DeleteArchives("gone")],
    ),
    "archives of models that the registry may have lost": (
        Desired({}, unlisted_since={"iris": NOW}),
        Observed(has(V1), proven=proven(V1), archived={"iris", "gone"}),
        FailedAttempts(),
        [Hold(("iris",))],
    ),
}


@pytest.mark.parametrize("state", STATES)
def test_plan(state: str) -> None:
    """What is to be done in each state, and nothing else."""
    desired, observed, attempts, actions = STATES[state]
    assert plan(desired, observed, attempts, NOW) == actions


@pytest.mark.parametrize("attempts", [failed, refused, unreachable])
def test_what_waits_is_tried_again_when_its_time_has_come(attempts: Callable[[Revision], FailedAttempts]) -> None:
    """A version that failed is begun again after its wait; one that was refused never is."""
    observed = Observed(has(V1), proven=proven(V1))
    later = plan(wants(V2), observed, attempts(V2), NOW + 31)
    assert later == ([] if attempts is refused else [Begin("iris", V2, "other")])


def test_thirty_new_models_do_not_starve_what_serves() -> None:
    """New ones are fetched one at a time; what serves and is cached goes first, four at a time."""
    names = [f"m{number:02}" for number in range(30)]
    serving = names[20:]
    desired = Desired(dict.fromkeys(names, V2), models=set(names))
    observed = Observed(
        {name: Deployment("1", {"1": version(V1)}) for name in serving},
        cached={(name, V2.identity) for name in serving},
        last_good=dict.fromkeys(names),
    )
    actions = plan(desired, observed, FailedAttempts(), NOW)
    assert [(it.name, it.kind) for it in actions if isinstance(it, Begin)] == [
        *((name, "cached_replacement") for name in serving[:4]), ("m00", "other")
    ]  # fmt: skip
    assert len([it for it in actions if isinstance(it, Wait)]) == 25


@pytest.mark.parametrize(
    ("cached", "begun"),
    [
        pytest.param([], [], id="one is fetched"),
        pytest.param(["m0"], ["m1"], id="one proves itself"),
        pytest.param(["m1"], ["m1"], id="one is fetched, and another lies on disk"),
        pytest.param(["m0", "m1", "m2"], ["m1"], id="one proves itself, and others lie on disk"),
    ],
)
def test_a_new_version_is_fetched_while_another_proves_itself(cached: list[str], begun: list[str]) -> None:
    """No two are fetched at once, and no third rollout begins."""
    names = ["m0", "m1", "m2"]
    observed = Observed(
        rollouts=[RunningRollout("m0", V2, "other")],
        cached={(name, V2.identity) for name in cached},
        last_good=dict.fromkeys(names),
    )
    actions = plan(Desired(dict.fromkeys(names, V2), models=set(names)), observed, FailedAttempts(), NOW)
    assert actions == [Begin(name, V2, "other") if name in begun else Wait(name) for name in sorted(
        names[1:], key=lambda name: (name not in cached, name)
    )]  # fmt: skip
    second = Observed(
        rollouts=[*observed.rollouts, RunningRollout("m1", V2, "other")],
        cached=observed.cached,
        last_good=observed.last_good,
    )
    actions = plan(Desired(dict.fromkeys(names, V2), models=set(names)), second, FailedAttempts(), NOW)
    assert actions == [Wait("m2")]


def test_one_version_that_does_not_end_keeps_no_other_from_ending() -> None:
    """Each version ends by itself."""
    others = {f"m{number}": Deployment("2", {"1": version(V1), "2": version(V2)}) for number in range(3)}
    observed = Observed(
        others,
        proven={(name, V2.identity) for name in others},
        draining={(name, "1"): RunningDrain(NOW - 1, was_idle=True) for name in others},
        ending={("m0", "1")},
    )
    actions = plan(Desired(dict.fromkeys(others, V2), models=set(others)), observed, FailedAttempts(), NOW)
    assert [it for it in actions if isinstance(it, Remove)] == [Remove("m1", "1"), Remove("m2", "1")]
