"""Versions that answer what they have accepted, and then end."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from signet_torchserve import busy_flag
from signet_torchserve.options import Options
from signet_torchserve.revision import Revision
from signet_torchserve.server.client import TorchServe

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Version:
    revision: Revision
    deadline: float
    was_idle: bool = False


class Draining:
    """All of one TorchServe, which no new request reaches but by its number.

    Args:
        torchserve: still serves them.
    """

    def __init__(self, torchserve: TorchServe) -> None:
        self._torchserve = torchserve
        self._versions: dict[tuple[str, str], _Version] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._versions)

    def add(self, name: str, revision: Revision) -> None:
        """Let a version of the deployment `name` end when it is idle, or when no request to it can take longer."""
        timeout_s = Options.from_tags(revision.tags).timeout_s
        self._versions[name, revision.id] = _Version(revision, time.monotonic() + timeout_s)

    def take_back(self, name: str, revision: Revision) -> bool:
        """Let a version go on if it is one of them; False if a former model's, of the same name, has to end first."""
        version = self._versions.get((name, revision.id))
        if version is not None and version.revision.identity != revision.identity:
            return False
        self._versions.pop((name, revision.id), None)
        return True

    def versions(self) -> list[tuple[str, Revision]]:
        """All of them, each with its deployment's name."""
        return [(name, version.revision) for (name, _), version in self._versions.items()]

    def end_if_idle(self, name: str, revision_id: str) -> bool:
        """End a version that has answered what it had accepted, or has had time enough; whether it is gone.

        It must be idle at two looks: between two looks at one, a request may be on its way from the queue to a worker.

        Raises:
            TorchServeError: it cannot be looked at, or does not end; it is tried again at the next call.
        """
        version = self._versions[name, revision_id]
        served = self._torchserve.version(name, revision_id)
        is_idle = served is None or not (
            served.pending_requests or any(busy_flag.is_busy(pid) for pid in served.workers)
        )
        is_late = time.monotonic() > version.deadline
        if ((is_idle and version.was_idle) or is_late) and self._torchserve.stop(
            name, revision_id, at_any_cost=is_late
        ):
            del self._versions[name, revision_id]
            logger.info("%s version %s is retired.", name, revision_id)
            return True
        version.was_idle = is_idle
        return False
