"""What a look at the model server costs, and what it changes."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from memory_replica import Replica, failing, started
from signet_torchserve.control import plan

replica = pytest.fixture(started)


def test_forty_settled_deployments_cost_few_calls_a_look(replica: Replica) -> None:
    """One lists them all; when some are due to be described anew, ten of them are, in turn."""
    replica.controller._observer._interval_s = 60
    for number in range(40):
        name = f"m{number}"
        replica.server.ensure(name, "1", Path(name), plan.Options())
        replica.server.set_default(name, "1")
    observer = replica.controller._observer
    observer.deployments(frozenset())
    before = dict(replica.server.calls)
    for _ in range(5):
        assert len(observer.deployments(frozenset())) == 40
    assert replica.server.calls == {**before, "defaults": before["defaults"] + 5}
    observer.deployments(frozenset({"m7"}))
    assert replica.server.calls["versions"] == before["versions"] + 1
    observer._interval_s = 0
    described = []
    for _ in range(4):
        seen = {name: at for name, (at, _) in observer._seen.items()}
        observer.deployments(frozenset())
        described.append({name for name, (at, _) in observer._seen.items() if at != seen[name]})
    assert list(map(len, described)) == [10] * 4
    assert len(set.union(*described)) == 40


def test_a_look_that_cannot_see_changes_nothing(replica: Replica) -> None:
    """While the model server does not answer, nothing is planned, and what is told stays."""
    replica.serve("iris", "1")
    replica.server.trouble = failing("defaults", "before")
    replica.registry.said["iris"] = replica.cache("iris", "2")
    began = time.monotonic()
    replica.controller.reconcile()
    assert time.monotonic() - began < 5
    assert replica.status.deployments == {"iris": "1"}
    assert not [it for it in threading.enumerate() if it.name.startswith("rollout")]


def test_what_is_changed_by_hand_is_set_right_within_two_looks(replica: Replica) -> None:
    """It is so for workers that are scaled, and for a version that is unregistered."""
    revision = replica.serve("iris", "1", workers="2")
    replica.serve("digits", "1")
    for change in (
        lambda: replica.server.ensure("iris", revision.id, Path("iris"), plan.Options(workers=1)),
        lambda: replica.server.remove("iris", revision.id),
    ):
        change()
        replica.controller.rest(0.1)
        replica.until(
            lambda: replica.serves("iris", revision) and replica.server.versions("iris")[revision.id].workers == 2
        )
    replica.until(lambda: replica.status.deployments == {"digits": "1", "iris": revision.id})
