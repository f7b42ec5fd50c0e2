"""The controller with a model server in memory, which fails and hangs at will."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from memory_server import MemoryServer
from signet_torchserve.archive.store import Store
from signet_torchserve.control import plan
from signet_torchserve.control.controller import Controller
from signet_torchserve.control.controller_status import Status
from signet_torchserve.control.registry import RegistryDenied, RegistryRefused, RegistryUnreachable
from signet_torchserve.memory_budget import Room
from signet_torchserve.registry_changes import RegistryChanges
from signet_torchserve.revision import SERVED_AT, Revision
from signet_torchserve.server.model_server import ModelServerError

from testing.polling import until


class SaidRegistry:
    """A registry that says what a test has put into it."""

    def __init__(self) -> None:
        self.said: dict[str, Revision] = {}
        self.error: Exception | None = None
        self.models: frozenset[str] = frozenset()
        self.changes = RegistryChanges("of no server")
        self.troubles: dict[str, str] = {}
        self.marked: dict[tuple[str, str], tuple[str, str]] = {}
        self.download_error: Exception | None = None
        self.downloads = 0
        self.tell_error: Exception | None = None
        self.told = 0

    def _answers(self) -> None:
        if self.error:
            raise self.error

    def desired(self) -> dict[str, Revision]:
        self._answers()
        self.models = frozenset(self.said)
        return dict(self.said)

    def champion_version(self, name: str) -> str | None:
        self._answers()
        return self.said[name].version if name in self.said else None

    def last_served(self, _: str, __: int) -> None:
        self._answers()

    def download(self, *_: object) -> Path:
        self.downloads += 1
        assert self.download_error
        raise self.download_error

    def set_status(self, name: str, version: str, status: str, reason: str, _: object = None) -> None:
        self.marked[name, version] = status, reason.partition(": ")[2]

    def tell(self, *_: Any) -> None:
        self.told += 1
        if self.tell_error:
            raise self.tell_error

    def beat(self, replica: str) -> dict[str, str]:
        return {replica: "now"}

    def leave(self, replica: str) -> None: ...


class Replica:
    """A controller, its server, store and registry."""

    def __init__(self, home: Path) -> None:
        self.server, self.registry, self.status = MemoryServer(), SaidRegistry(), Status()
        self.store = Store(home)
        self.measured_mib = 10_000.0
        room = Room(measured_mib=lambda: self.measured_mib)
        self.controller = Controller(self.registry, self.server, self.store, self.status, 0.05, room)  # type: ignore[arg-type]  # a registry in memory

    def cache(self, name: str, version: str, **tags: str) -> Revision:
        """A revision that has served before and whose archive lies on disk."""
        revision = Revision(version, {SERVED_AT: "2026", **{f"serving.{tag}": value for tag, value in tags.items()}}, 1)
        with zipfile.ZipFile(self.store.archive(name, revision), "w") as archive:
            archive.writestr("options.json", json.dumps({"allow": []}))
        self.store.write_manifest(name, revision)
        return revision

    def until(self, is_so: Callable[[], bool]) -> None:
        """Look until something is so."""

        def look() -> bool:
            self.controller.reconcile()
            return is_so()

        until("it has converged", look, interval_s=0.02)

    def serve(self, name: str, version: str, **tags: str) -> Revision:
        """Have the registry ask for a version, and look until it answers and all else has ended."""
        revision = self.registry.said[name] = self.cache(name, version, **tags)
        self.until(lambda: self.serves(name, revision) and not self.controller.is_busy)
        return revision

    def serves(self, name: str, revision: Revision) -> bool:
        return self.server._defaults.get(name) == revision.id


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(tmp_path)
    yield replica
    replica.server.freed.set()
    replica.store.close()


def _fail(method: str, when: str) -> Callable[[str, str], None]:
    """A call that fails, though it took effect if it fails after its work."""

    def trouble(called: str, at: str) -> None:
        if (called, at) == (method, when):
            raise ModelServerError("TorchServe does not answer: timed out")

    return trouble


def test_a_default_that_took_effect_although_the_call_failed_serves(replica: Replica) -> None:
    """What answers is what is observed: it is ready and stays, and the version before it ends."""
    replica.serve("iris", "1")
    replica.server.trouble = _fail("set_default", "after")
    second = replica.serve("iris", "2")
    assert replica.server.versions("iris").keys() == {second.id}
    assert replica.status.deployments == {"iris": "2"}
    assert replica.registry.marked["iris", "2"][0] == "ready"


@pytest.mark.parametrize("method", ["set_default", "ensure", "remove"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_whatever_call_fails_the_desired_version_serves_in_the_end(method: str, when: str, replica: Replica) -> None:
    """While calls fail, what served goes on; afterwards all is as desired."""
    first = replica.serve("iris", "1")
    replica.server.trouble = _fail(method, when)
    second = replica.registry.said["iris"] = replica.cache("iris", "2")
    for _ in range(10):
        replica.controller.reconcile()
        assert replica.serves("iris", first) or replica.serves("iris", second)
    replica.server.trouble = lambda *_: None
    replica.controller._outcomes.backoff.keep({})
    replica.until(lambda: replica.server.versions("iris").keys() == {second.id} and not replica.controller.is_busy)
    assert replica.status.deployments == {"iris": "2"}


def test_a_version_that_does_not_end_keeps_no_other_from_ending(replica: Replica) -> None:
    """Nor from being deployed."""
    for name in ("iris", "digits"):
        replica.serve(name, "1")
    replica.server.stubborn.add(("iris", "1"))
    for name in ("iris", "digits"):
        replica.registry.said[name] = replica.cache(name, "2")
    replica.until(lambda: replica.server.versions("digits").keys() == {"2"})
    replica.until(lambda: replica.server.calls["remove"] > 1)
    assert replica.server.versions("iris").keys() == {"1", "2"}
    assert replica.status.deployments == {"iris": "2", "digits": "2"}


def test_what_is_changed_by_hand_is_set_right_within_two_looks(replica: Replica) -> None:
    """Workers that are scaled, and a version that is unregistered."""
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
    assert replica.status.deployments == {"digits": "1", "iris": revision.id}


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RegistryRefused("The files of version 2 cannot be downloaded: 403 Client Error: Forbidden"),
        RegistryRefused("http://mlflow-server:5000: Version 2 was deleted."),
    ],
)
def test_what_cannot_be_fetched_says_why(error: Exception, replica: Replica) -> None:
    """A full disk, a file that is denied, a version that was deleted: the version is failed, and tried later."""
    replica.serve("iris", "1")
    replica.registry.download_error = error
    replica.registry.said["iris"] = Revision("2", created=1)
    replica.until(lambda: replica.registry.marked.get(("iris", "2"), ("", ""))[0] == "failed")
    assert replica.registry.marked["iris", "2"][1] == str(error)
    for _ in range(5):
        replica.controller.reconcile()
    assert replica.registry.downloads == 1
    assert replica.status.registry == "reachable"
    assert replica.status.deployments == {"iris": "1"}


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
    """And what served last serves while the registry is away."""
    revision = replica.serve("iris", "1")
    again = Controller(replica.registry, replica.server, replica.store, status := Status(), 0.05, Room())  # type: ignore[arg-type]  # as above
    replica.registry.error = RegistryUnreachable("http://mlflow-server:5000: refused")
    again.resume()
    assert status.deployments == {"iris": revision.id}
    assert status.has_caught_up


def test_what_has_no_room_is_refused_with_the_figures_and_served_when_there_is(replica: Replica) -> None:
    """What serves goes on, and nothing is registered or unpacked for the other; it is tried again by itself."""
    first = replica.serve("iris", "1")
    replica.measured_mib = 140.0
    second = replica.registry.said["digits"] = replica.cache("digits", "1")
    replica.until(lambda: ("digits", "1") in replica.registry.marked and not replica.controller.is_busy)
    status, reason = replica.registry.marked["digits", "1"]
    assert status == "refused"
    assert reason == (
        "The replica has no memory for the version: it needs 16 MiB, and 12 MiB are free. "
        "The version is tried again when there is room."
    )
    assert replica.status.refused == ["digits"]
    ensured = replica.server.calls["ensure"]
    for _ in range(3):
        replica.controller.reconcile()
    assert replica.server.calls["ensure"] == ensured
    assert not replica.store.unpacked("digits", "1").exists()
    assert replica.serves("iris", first)
    replica.measured_mib = 150.0
    replica.until(lambda: replica.serves("digits", second))
    replica.until(lambda: replica.registry.marked["digits", "1"][0] == "ready")


def test_more_workers_than_there_is_room_for_are_refused(replica: Replica) -> None:
    """The first is measured before the others start; what served goes on."""
    replica.serve("iris", "1")
    replica.server.pids = (os.getpid(),)  # which takes some
    replica.measured_mib = 250.0
    replica.registry.said["iris"] = replica.cache("iris", "2", workers="64")
    replica.until(lambda: ("iris", "2") in replica.registry.marked and not replica.controller.is_busy)
    status, reason = replica.registry.marked["iris", "2"]
    assert (status, replica.status.deployments) == ("refused", {"iris": "1"})
    assert "MiB are free" in reason


def test_forty_settled_deployments_cost_one_call_a_look(replica: Replica) -> None:
    """Each is described anew at every second look at most."""
    replica.controller._eye._interval_s = 60
    for number in range(40):
        name = f"m{number}"
        replica.server.ensure(name, "1", Path(name), plan.Options())
        replica.server.set_default(name, "1")
    eye = replica.controller._eye
    eye.deployments(frozenset())
    before = dict(replica.server.calls)
    for _ in range(5):
        assert len(eye.deployments(frozenset())) == 40
    assert replica.server.calls == {**before, "defaults": before["defaults"] + 5}
    eye.deployments(frozenset({"m7"}))
    assert replica.server.calls["versions"] == before["versions"] + 1


def test_a_look_that_cannot_see_changes_nothing(replica: Replica) -> None:
    """While the model server does not answer, nothing is planned, and what is told stays."""
    replica.serve("iris", "1")
    replica.server.trouble = _fail("defaults", "before")
    replica.registry.said["iris"] = replica.cache("iris", "2")
    began = time.monotonic()
    replica.controller.reconcile()
    assert time.monotonic() - began < 5
    assert replica.status.deployments == {"iris": "1"}
    assert not [it for it in threading.enumerate() if it.name.startswith("rollout")]


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
    entry = next(iter(reporter._notes.values())).entry
    listed = Revision("1", {**waiting.tags, f"serving.replica.{replica.store.replica}": str(entry)}, 1)
    reporter.put("fare", listed, "pending", "it is being deployed")
    reporter.tell({"fare": listed}, {"fare": "pending"})
    assert told["fare", "1"] == ("pending", "it waits for its turn")
    monkeypatch.setattr("signet_torchserve.control.status_reporter.BRIEF_S", 0)
    reporter.tell({"fare": listed}, {"fare": "pending"})
    assert told["fare", "1"] == ("pending", "it is being deployed")


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
    monkeypatch.setattr("signet_torchserve.control.status_reporter.DENIED_S", 0)
    replica.controller._reporter._denied["fare"] = 0.0
    replica.controller.reconcile()
    assert replica.status.untold == ""
    assert replica.registry.marked["fare", "1"][0] == "ready"
