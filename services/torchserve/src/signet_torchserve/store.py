"""What the agent keeps on disk, so that it can serve when the registry is gone."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from signet_torchserve.options import Champion

KEPT_ARCHIVES = 2


@dataclass(slots=True)
class Status:
    """The agent's own account of itself, read by the health check."""

    deployments: dict[str, str] = field(default_factory=dict)
    """Revision that answers, by name of the deployment."""
    pending: list[str] = field(default_factory=list)
    """Deployments whose champion does not answer yet."""
    refused: list[str] = field(default_factory=list)
    """Deployments whose champion is refused for good; what they served before goes on."""
    registry: str = "not asked yet"
    """`reachable`, or why the registry cannot be read."""


class StoreInUse(Exception):
    """The agent's folder belongs to a running replica."""

    def __init__(self, home: Path) -> None:
        super().__init__(
            f"SIGNET_HOME {str(home)!r} is in use by another replica: expected a folder of this one's own."
        )


class Store:
    """Folder of the agent.

    Args:
        home: where everything lies; made if it is missing.

    Raises:
        StoreInUse: another replica has it: two would delete each other's files.
        OSError: the folder cannot be written.
    """

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._lock = (home / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise StoreInUse(home) from error
        self.home = home
        self.archives = home / "archives"
        self.temporary = home / "tmp"
        self._champions = home / "champions.json"
        self._status = home / "status.json"
        # Left behind by a TorchServe that was killed: its unpacked models, half-made archives, half-done downloads.
        shutil.rmtree(self.temporary, ignore_errors=True)
        for folder in (self.archives, self.temporary):
            folder.mkdir(parents=True, exist_ok=True)
        for half_made in self.archives.glob(".building-*"):
            shutil.rmtree(half_made, ignore_errors=True)
        self._status.unlink(missing_ok=True)

    def archive(self, name: str, champion: Champion) -> Path:
        """Where the archive of a model version, served as its tags say, lies or would lie."""
        return self.archives / f"{name}@{champion.revision}.mar"

    def prune(self, name: str, keep: set[str]) -> None:
        """Delete a model's archives, but for those of `keep` and the last used others up to `KEPT_ARCHIVES`."""
        archives = [path for path in self.archives.glob("*.mar") if path.stem.rpartition("@")[0] == name]
        archives.sort(key=lambda path: (path.stem.rpartition("@")[2] in keep, path.stat().st_mtime), reverse=True)
        for path in archives[max(KEPT_ARCHIVES, len(keep)) :]:
            path.unlink(missing_ok=True)

    def remember(self, champions: Mapping[str, Champion]) -> None:
        """Keep what the registry last wanted, for a start without it."""
        _write(self._champions, {name: asdict(champion) for name, champion in champions.items()})

    def remembered(self) -> dict[str, Champion]:
        """What the registry last wanted; nothing if that was never learnt."""
        return {name: Champion(**champion) for name, champion in (_read(self._champions) or {}).items()}

    def report(self, status: Status) -> None:
        """Write the status where the health check reads it."""
        _write(self._status, asdict(status))


def read_status(home: Path) -> Status | None:
    """The agent's last account of itself; None if it gave none since it started."""
    document = _read(home / "status.json")
    return Status(**document) if document is not None else None


def _read(path: Path) -> Any:
    with contextlib.suppress(FileNotFoundError, ValueError):
        return json.loads(path.read_text("utf-8"))
    return None


def _write(path: Path, document: Any) -> None:
    text = json.dumps(document, indent=1, sort_keys=True)
    with contextlib.suppress(FileNotFoundError):
        if path.read_text("utf-8") == text:
            return
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, "utf-8")
    os.replace(temporary, path)  # noqa: PTH105 -- atomic: a reader sees the old text or the new one
