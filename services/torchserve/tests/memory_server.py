"""A model server in memory, which behaves as TorchServe does where it matters to the controller."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from signet_torchserve.server.model_server import PLACEHOLDER, ModelServerError, ServedVersion
from signet_torchserve.version_options import Options


class MemoryServer:
    """A `ModelServer` whose workers start at once, unless a test says otherwise.

    Attributes:
        calls: how often each method was called.
        trouble: called before and after each method's work, with its name and "before" or "after". What it raises is
            raised: after the work, the call fails although it took effect.
        ready: how many of so many workers are ready.
        stubborn: versions that do not end.
        pids: of each version's workers.
    """

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self.trouble: Callable[[str, str], None] = lambda *_: None
        self.ready: Callable[[int], int] = lambda workers: workers
        self.stubborn: set[tuple[str, str]] = set()
        self.pids: tuple[int, ...] = ()
        self.freed = threading.Event()
        self._versions: dict[str, dict[str, ServedVersion]] = {}
        self._defaults: dict[str, str] = {}

    def _called(self, method: str) -> None:
        self.calls[method] = self.calls.get(method, 0) + 1
        self.trouble(method, "before")

    def is_up(self) -> bool:
        return True

    def defaults(self) -> dict[str, str]:
        self._called("defaults")
        return dict(self._defaults)

    def versions(self, name: str) -> dict[str, ServedVersion]:
        self._called("versions")
        return {id_: self._seen(it) for id_, it in self._versions.get(name, {}).items() if id_ != PLACEHOLDER}

    def version(self, name: str, revision_id: str = "") -> ServedVersion | None:
        found = self._versions.get(name, {}).get(revision_id or self._defaults.get(name, ""))
        return found and self._seen(found)

    def ensure(self, name: str, revision_id: str, folder: Path, options: Options) -> None:
        self._called("ensure")
        assert folder.name
        versions = self._versions.setdefault(name, {})
        if not versions:
            versions[PLACEHOLDER] = ServedVersion(PLACEHOLDER, 0, 0, 0, ())
            self._defaults[name] = PLACEHOLDER
        versions[revision_id] = ServedVersion(revision_id, options.workers, 0, 0, ())
        self.trouble("ensure", "after")

    def set_default(self, name: str, revision_id: str) -> None:
        self._called("set_default")
        if revision_id not in self._versions.get(name, {}):
            raise ModelServerError("Model not found")
        self._defaults[name] = revision_id
        self._versions[name].pop(PLACEHOLDER, None)
        self.trouble("set_default", "after")

    def remove(self, name: str, revision_id: str, *, at_any_cost: bool = False) -> bool:
        self._called("remove")
        if (name, revision_id) in self.stubborn:
            assert self.freed.wait(30) or at_any_cost
        versions = self._versions.get(name, {})
        if self._defaults.get(name) == revision_id and len(versions) > 1:
            raise ModelServerError("Cannot remove default version")
        versions.pop(revision_id, None)
        if versions.keys() <= {PLACEHOLDER}:
            self._versions.pop(name, None)
            self._defaults.pop(name, None)
        self.trouble("remove", "after")
        return True

    def predict(self, *_: Any) -> Any:
        self._called("predict")
        return {"predictions": [0.0]}

    def _seen(self, version: ServedVersion) -> ServedVersion:
        return replace(version, ready_workers=self.ready(version.workers), pids=self.pids)
