"""What the registry is told, and when."""

from __future__ import annotations

import time

import pytest
from memory_replica import Replica, started
from signet_torchserve.registry.errors import RegistryDenied
from signet_torchserve.revision import Revision

replica = pytest.fixture(started)


def test_what_has_been_told_is_not_told_again_from_a_list_of_before(replica: Replica) -> None:
    """A look that comes as a rollout ends takes the list of the look before, which lacks what was told since."""
    replica.serve("fare", "1")
    told = replica.registry.told
    for _ in range(5):
        replica.controller.reconcile()
    assert replica.registry.told == told
    replica.registry.said["fare"] = replica.cache("fare", "1")  # listed anew, and somebody has taken away what was told
    replica.controller.reconcile()
    assert replica.registry.told == told + 1


def test_why_a_version_is_pending_is_told_once_it_has_been_so_for_a_while(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollout that takes half a second is told as it ends, not as it begins."""
    reporter, told = replica.controller._reporter, replica.registry.marked
    waiting = replica.cache("fare", "1")
    reporter.tell({"fare": waiting}, {"fare": "pending"})
    assert told["fare", "1"] == ("pending", "it waits for its turn")
    note = reporter._deployments["fare"].note
    assert note
    listed = Revision("1", {**waiting.tags, f"serving.replica.{replica.store.replica}": str(note.entry)}, 1)
    reporter.put("fare", listed, "pending", "it is being deployed")
    reporter.tell({"fare": listed}, {"fare": "pending"})
    assert told["fare", "1"] == ("pending", "it waits for its turn")
    monkeypatch.setattr("signet_torchserve.control.status_reporter.HELD_BACK_S", 0)
    reporter.tell({"fare": listed}, {"fare": "pending"})
    assert told["fare", "1"] == ("pending", "it is being deployed")


def test_while_versions_come_into_service_little_is_told(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statuses follow after a pause, or once none does any more; that a version is not ready is told at once."""
    monkeypatch.setattr("signet_torchserve.control.status_reporter.BUSY_SHARE", 1e-6)
    reporter, told = replica.controller._reporter, replica.registry.marked
    desired = {name: replica.cache(name, "1") for name in ("fare", "iris", "copied")}
    desired["copied"] = Revision("1", {**desired["copied"].tags, "serving.status": "ready"}, 1)
    reporter.tell(desired, {"fare": "pending"}, is_busy=True)
    reporter.tell(desired, dict.fromkeys(desired, "pending"), is_busy=True)
    assert {name for name, _ in told} == {"fare", "copied"}
    reporter.tell(desired, dict.fromkeys(desired, "pending"))
    assert {name for name, _ in told} == {"fare", "copied", "iris"}
    monkeypatch.setattr("signet_torchserve.control.status_reporter.BUSY_SHARE", 1.0)
    reporter.tell(desired, dict.fromkeys(desired, "pending"))
    time.sleep(0.1)
    reporter.tell(desired, dict.fromkeys(desired, "ready"), is_busy=True)
    assert {status for status, _ in told.values()} == {"ready"}


def test_an_account_that_may_read_only_serves_and_seldom_tries_to_write(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can't be told is said at `/ready`, is tried again after a while, and is forgotten once it can."""
    replica.registry.tell_error = RegistryDenied("403")
    replica.serve("fare", "1")
    for _ in range(20):
        replica.controller.reconcile()
    assert replica.registry.told <= 2
    assert replica.status.untold == "403"
    replica.registry.tell_error = None
    monkeypatch.setattr("signet_torchserve.control.status_reporter.DENIED_PAUSE_S", 0)
    replica.controller._reporter._deployments["fare"].denied_until = 0.0
    replica.controller.reconcile()
    assert replica.status.untold == ""
    assert replica.registry.marked["fare", "1"][0] == "ready"
