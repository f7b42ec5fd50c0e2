"""A controller with a registry and a model server in memory, which fail and hang at will."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from memory_server import MemoryServer
from signet_torchserve.archive.store import Store
from signet_torchserve.control.controller import Controller
from signet_torchserve.control.controller_status import Status
from signet_torchserve.memory_budget import MemoryBudget
from signet_torchserve.registry.changes import RegistryChanges
from signet_torchserve.revision import SERVED_AT, Revision
from signet_torchserve.server.model_server import ModelServerError

from testing.polling import until


class SaidRegistry:
    """A registry that says what a test has put into it."""

    def __init__(self) -> None:
        self.said: dict[str, Revision] = {}
        self.error: Exception | None = None
        self.models: frozenset[str] = frozenset()
        self.firsts: frozenset[str] = frozenset()
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

    def desired(self, _: object = None) -> dict[str, Revision]:
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

    def set_replica_status(self, *_: Any) -> None:
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
        budget = MemoryBudget(measured_mib=lambda: self.measured_mib)
        self.controller = Controller(self.registry, self.server, self.store, self.status, 0.05, budget)  # type: ignore[arg-type]  # a registry in memory

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


def started(tmp_path: Path) -> Iterator[Replica]:
    """Such a replica, until the test has ended."""
    replica = Replica(tmp_path)
    yield replica
    replica.server.freed.set()
    replica.store.close()


def failing(method: str, when: str) -> Callable[[str, str], None]:
    """A call that fails, though it took effect if it fails after its work."""

    def trouble(called: str, at: str) -> None:
        if (called, at) == (method, when):
            raise ModelServerError("TorchServe does not answer: timed out")

    return trouble
