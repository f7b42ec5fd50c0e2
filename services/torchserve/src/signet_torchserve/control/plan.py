"""What is to be done: a pure function of what is desired and what is observed.

| state of a deployment                                    | action |
| -------------------------------------------------------- | --------------------------------------------------------- |
| what is desired answers and is proven                    | none |
| it has another number of workers than its tags say, as   | `Ensure` |
| somebody has scaled it by hand                           | |
| it does not answer, or is not proven yet                 | `Begin` a rollout; `Wait` while others have their turn |
| its identifier is another revision's, or still ends      | `Wait` until that has ended |
| it failed or was refused, and its backoff still runs     | none, but for what served last, if nothing answers |
| what is desired is the default, and failed at a restart  | `Drain`, so that its next rollout begins from nothing |
| nothing answers; what is desired is new or not cached    | `Recall` what served last, if any, and `Begin` that first |
| a rollout is of what is desired no more                  | `Cancel` |
| a version that is neither the default nor comes up       | `Drain`, then `Remove` when it was idle at two looks |
| … and takes longer than a request to it may              | `Remove` at any cost |
| … and is being removed                                   | `Drain` alone: the removal is a task that runs |
| a version of a model that was deleted and made anew      | `Drain`, though it is the default |
| nothing but the placeholder is there, and nothing begins | `Remove` the placeholder |
| the registry lists it no more                            | `Drain` |
| the registry lists no model of those that answer         | `Hold`, until it has said so for `HOLD_S`; then `Drain` |
| the registry is away                                     | what it last said holds; no `Cancel`, no `DeleteArchives` |
| archives lie on disk of a model that was deleted         | `DeleteArchives` |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from signet_torchserve.archive.store import stem
from signet_torchserve.control.desired import Desired
from signet_torchserve.control.failed_attempts import FailedAttempts
from signet_torchserve.control.observed import Deployment, Observed, RunningRollout
from signet_torchserve.errors import NotServable
from signet_torchserve.revision import Revision
from signet_torchserve.server.model_server import PLACEHOLDER
from signet_torchserve.version_options import Options

AT_ONCE = {"cached_replacement": 4, "other": 2}
"""How many rollouts may run at the same time, by kind.

A rollout is a `cached_replacement` if another version of its deployment answers and its archive is on disk. Every other
rollout is an `other`.
"""
FETCHED_AT_ONCE = 1
"""How many rollouts may be without an archive on disk: one is fetched while another proves itself."""
HOLD_S = 30
"""Seconds that a `Hold` lasts."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Start the rollout of a revision."""

    name: str
    revision: Revision
    kind: str


@dataclass(frozen=True, slots=True)
class Wait:
    """A rollout is to begin once another one, or the end of a version, is over."""

    name: str


@dataclass(frozen=True, slots=True)
class Recall:
    """Ask the registry what served last, on any replica, of the model that was created then."""

    name: str
    created: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """Keep a rollout from going live: another version is desired by now, or none."""

    name: str
    desired_version: str | None


@dataclass(frozen=True, slots=True)
class Ensure:
    """Give a version the number of workers that its tags say."""

    name: str
    revision: Revision


@dataclass(frozen=True, slots=True)
class Drain:
    """Let a version end when it has answered what it has accepted."""

    name: str
    revision_id: str


@dataclass(frozen=True, slots=True)
class Remove:
    """End a version's workers, and forget it."""

    name: str
    revision_id: str
    at_any_cost: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """Go on with deployments although the registry lists none of all that answer: it may have lost them."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeleteArchives:
    """Delete a model's archives, by the stem of its name."""

    stem: str


Action = Begin | Wait | Recall | Cancel | Ensure | Drain | Remove | Hold | DeleteArchives


def plan(desired: Desired, observed: Observed, attempts: FailedAttempts, now: float) -> list[Action]:
    """The actions that bring what is observed towards what is desired, each of which may be repeated.

    Args:
        desired: what the registry asks for.
        observed: what this replica has.
        attempts: what was tried, and when it may be tried again.
        now: `time.monotonic()`.
    """
    answering = observed.answering().keys()
    unlisted = answering - desired.revisions.keys() if desired.is_known else set()
    actions: list[Action] = []
    # A deployment is withdrawn by its alias, and its model stays. If no model is left, the registry may have lost them.
    if unlisted and unlisted == answering and not unlisted & desired.models:
        since = max(desired.unlisted_since.get(name, now) for name in unlisted)
        if now - since < HOLD_S:
            actions.append(Hold(tuple(sorted(unlisted))))
            unlisted = set()
    begins = list(_begins(desired, observed, attempts, now))
    # `coming`: revisions that have, or begin, a rollout. `busy`: deployments that do, or wait for one.
    coming = {
        (it.name, it.revision.id) for it in (*observed.rollouts, *begins) if isinstance(it, (RunningRollout, Begin))
    }
    busy = {it.name for it in (*observed.rollouts, *begins)}
    for rollout in observed.rollouts:
        actions += _cancels(rollout, desired, observed)
    actions += begins
    for name, deployment in observed.deployments.items():
        revision = desired.revisions.get(name)
        if name not in busy and revision is not None and observed.serves(name, revision):
            actions += _ensures(name, revision, deployment)
        has_failed = revision is not None and _has_failed(name, revision, observed, attempts, now)
        for revision_id in deployment.versions:
            stays = name not in unlisted and _stays(revision_id, deployment, revision, has_failed=has_failed)
            if not stays and (name, revision_id) not in coming:
                actions += _ends(name, revision_id, observed, now)
        if not deployment.versions and deployment.default is None and name not in busy:
            actions.append(Remove(name, PLACEHOLDER))
    if desired.is_known and not any(isinstance(action, Hold) for action in actions):
        used = {stem(name) for name in (*desired.models, *desired.revisions, *observed.deployments, *busy)}
        actions += [DeleteArchives(unused) for unused in sorted(observed.archived - used)]
    return actions


def _begins(
    desired: Desired, observed: Observed, attempts: FailedAttempts, now: float
) -> Iterator[Begin | Wait | Recall]:
    """Rollouts to begin. Deployments that serve come before new ones, cached versions before those to be fetched."""
    running = {rollout.name for rollout in observed.rollouts if not rollout.is_cancelled}
    missing = []
    for name, revision in desired.revisions.items():
        if observed.serves(name, revision) or name in running:
            continue
        to_bring_up = _to_bring_up(name, revision, observed, attempts, now)
        if isinstance(to_bring_up, Recall):
            yield to_bring_up
        elif to_bring_up is not None:
            must_be_made = (name, to_bring_up.identity) not in observed.cached
            missing.append((observed.answers_for(name) is None, must_be_made, name, to_bring_up))
    counts = {kind: sum(it.kind == kind and not it.is_cancelled for it in observed.rollouts) for kind in AT_ONCE}
    fetched = sum(
        (it.name, it.revision.identity) not in observed.cached and not it.is_cancelled for it in observed.rollouts
    )
    for is_new, must_be_made, name, to_bring_up in sorted(missing, key=lambda row: row[:3]):
        kind = "other" if is_new or must_be_made else "cached_replacement"
        is_full = counts[kind] >= AT_ONCE[kind] or (must_be_made and fetched >= FETCHED_AT_ONCE)
        if is_full or _must_wait_for_an_end(name, to_bring_up, observed):
            yield Wait(name)
        else:
            counts[kind] += 1
            fetched += must_be_made
            yield Begin(name, to_bring_up, kind)


def _to_bring_up(
    name: str, revision: Revision, observed: Observed, attempts: FailedAttempts, now: float
) -> Revision | Recall | None:
    """The desired revision, once its backoff is over; where nothing answers, first a stand-in, if there is one."""
    due = revision if attempts.is_due(name, revision, now) else None
    is_soon_there = due is not None and due.has_served and (name, due.identity) in observed.cached
    if observed.answers_for(name) is not None or is_soon_there:
        return due
    return _stand_in(name, revision, observed, attempts, now) or due


def _stand_in(
    name: str, revision: Revision, observed: Observed, attempts: FailedAttempts, now: float
) -> Revision | Recall | None:
    """What served last, to answer until the desired revision does; `Recall` if nobody has asked yet what that is."""
    if name not in observed.last_good:
        return Recall(name, revision.created)
    last = observed.last_good[name]
    may_serve = last is not None and is_former(last, revision) and attempts.is_due(name, last, now)
    return last if may_serve else None


def is_former(last: Revision, revision: Revision) -> bool:
    """Whether `last` may serve until `revision` does: another revision of the same model."""
    return last.created == revision.created and last.id != revision.id


def _must_wait_for_an_end(name: str, revision: Revision, observed: Observed) -> bool:
    """Whether a version must end first: the revision itself or the placeholder, which still end, or one in the way.

    In the way are versions of a deleted model of the same name, and one that has the revision's `id` and files that
    nobody knows, unless it is the default. The plan ends these (`_stays`).
    """
    cancelled = {(it.name, it.revision.id) for it in observed.rollouts if it.is_cancelled}
    if (observed.ending | cancelled) & {(name, revision.id), (name, PLACEHOLDER)}:
        return True
    deployment = observed.deployments.get(name)
    if deployment is None:
        return False
    same = deployment.versions.get(revision.id)
    if same is not None and same.revision is None and revision.id != deployment.default:
        return True
    known = [it.revision for it in deployment.versions.values() if it.revision is not None]
    return any(it.created != revision.created for it in known)


def _cancels(rollout: RunningRollout, desired: Desired, observed: Observed) -> Iterator[Cancel]:
    """The end of a rollout of what is not desired. Where nothing answers, the stand-in's rollout goes on."""
    if rollout.is_cancelled or not desired.is_known:
        return
    revision = desired.revisions.get(rollout.name)
    if revision is None:
        yield Cancel(rollout.name, None)
    elif revision.identity != rollout.revision.identity:
        last = observed.last_good.get(rollout.name)
        is_stand_in = last is not None and last.identity == rollout.revision.identity and is_former(last, revision)
        if not is_stand_in or rollout.name in observed.answering():
            yield Cancel(rollout.name, revision.version)


def _ensures(name: str, revision: Revision, deployment: Deployment) -> Iterator[Ensure]:
    if deployment.versions[revision.id].workers != _options(revision).workers:
        yield Ensure(name, revision)


def _has_failed(name: str, revision: Revision, observed: Observed, attempts: FailedAttempts, now: float) -> bool:
    """Whether what is desired has failed or was refused (not: could not be fetched), and is not due again yet."""
    waits = not observed.serves(name, revision) and not attempts.is_due(name, revision, now)
    return waits and attempts.outcome(name, revision) != "unreachable"


def _stays(revision_id: str, deployment: Deployment, desired: Revision | None, *, has_failed: bool) -> bool:
    """Whether a version goes on: it is desired and has not failed, or is the default of the desired model."""
    found = deployment.versions[revision_id].revision
    if found is not None and desired is not None:
        if found.identity == desired.identity:
            return not has_failed
        if found.created != desired.created:
            return False
    return revision_id == deployment.default


def _ends(name: str, revision_id: str, observed: Observed, now: float) -> Iterator[Drain | Remove]:
    """The end of a version. It is idle at two looks: one may miss a request that has just chosen the version."""
    yield Drain(name, revision_id)
    deployment, drain = observed.deployments[name], observed.draining.get((name, revision_id))
    if drain is None or (name, revision_id) in observed.ending:
        return
    if revision_id == deployment.default and len(deployment.versions) > 1:
        return  # TorchServe ends no default version while it has others
    it = deployment.versions[revision_id]
    is_late = now - drain.since > _options(it.revision).timeout_s
    if is_late or (it.is_idle and drain.was_idle):
        yield Remove(name, revision_id, at_any_cost=is_late)


def _options(revision: Revision | None) -> Options:
    try:
        return Options.from_tags(revision.tags if revision else {})
    except NotServable:  # an older Signet admitted its tags
        return Options()
