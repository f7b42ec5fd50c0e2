"""The controller as a whole comes to what is desired, whatever fails and hangs meanwhile."""

from __future__ import annotations

import pytest
from memory_replica import Replica, failing, started
from signet_torchserve.control import plan
from signet_torchserve.control.controller import Controller
from signet_torchserve.control.controller_status import Status
from signet_torchserve.memory_budget import MemoryBudget
from signet_torchserve.registry.errors import RegistryUnreachable

replica = pytest.fixture(started)


def test_a_default_that_took_effect_although_the_call_failed_serves(replica: Replica) -> None:
    """What answers is what is observed: it is ready and stays, and the version before it ends."""
    replica.serve("iris", "1")
    replica.server.trouble = failing("set_default", "after")
    second = replica.serve("iris", "2")
    assert replica.server.versions("iris").keys() == {second.id}
    assert replica.status.deployments == {"iris": "2"}
    assert replica.registry.marked["iris", "2"][0] == "ready"


@pytest.mark.parametrize("method", ["set_default", "ensure", "remove"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_whatever_call_fails_the_desired_version_serves_in_the_end(method: str, when: str, replica: Replica) -> None:
    """While calls fail, what served goes on; afterwards all is as desired."""
    first = replica.serve("iris", "1")
    replica.server.trouble = failing(method, when)
    second = replica.registry.said["iris"] = replica.cache("iris", "2")
    for _ in range(10):
        replica.controller.reconcile()
        assert replica.serves("iris", first) or replica.serves("iris", second)
    replica.server.trouble = lambda *_: None
    replica.controller._outcomes.failed_attempts.forget_all_but({})
    replica.until(lambda: replica.server.versions("iris").keys() == {second.id} and not replica.controller.is_busy)
    assert replica.status.deployments == {"iris": "2"}


def test_a_version_that_does_not_end_keeps_no_other_from_ending(replica: Replica) -> None:
    """It keeps none from being deployed, either."""
    for name in ("iris", "digits"):
        replica.serve(name, "1")
    replica.server.stubborn.add(("iris", "1"))
    for name in ("iris", "digits"):
        replica.registry.said[name] = replica.cache(name, "2")
    replica.until(lambda: replica.server.versions("digits").keys() == {"2"})
    replica.until(lambda: replica.server.calls["remove"] > 1)
    assert replica.server.versions("iris").keys() == {"1", "2"}
    assert replica.status.deployments == {"iris": "2", "digits": "2"}


def test_without_the_registry_and_its_memory_nothing_is_withdrawn(replica: Replica) -> None:
    """What answers goes on, though desired.json is damaged and the registry away."""
    replica.serve("iris", "1")
    (replica.store.home / "desired.json").write_text("{")
    replica.registry.error = RegistryUnreachable("http://mlflow-server:5000: refused")
    for _ in range(5):
        replica.controller.reconcile()
    assert replica.status.deployments == {"iris": "1"}
    assert not replica.controller.is_busy


def test_a_registry_that_suddenly_lists_nothing_is_not_believed_at_once(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that serves goes on and says why, until the registry has said so for a while."""
    for name in ("iris", "digits"):
        replica.serve(name, "1")
    replica.registry.said.clear()
    for _ in range(5):
        replica.controller.reconcile()
    assert replica.status.deployments == {"digits": "1", "iris": "1"}
    assert replica.status.stranded["iris"].startswith("The registry has none of the served models;")
    assert len(replica.store.stems()) == 2
    monkeypatch.setattr(plan, "HOLD_S", 0.0)
    replica.until(lambda: not replica.server.defaults() and not replica.store.stems())
    assert replica.registry.marked["iris", "1"] == ("retired", "the alias was taken away")


def test_a_restart_proves_what_served_before_the_registry_is_asked(replica: Replica) -> None:
    """What served last serves while the registry is away."""
    revision = replica.serve("iris", "1")
    again = Controller(replica.registry, replica.server, replica.store, status := Status(), 0.05, MemoryBudget())  # type: ignore[arg-type]  # as above
    replica.registry.error = RegistryUnreachable("http://mlflow-server:5000: refused")
    again.resume()
    assert status.deployments == {"iris": revision.id}
    assert status.has_caught_up
