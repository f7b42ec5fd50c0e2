"""Revisions that could not be brought into service, and when each is tried again."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

from signet_torchserve.revision import Revision

UNREACHABLE_S = 5
FAILED_S = 30  # and each time twice as long
LONGEST_S = 600


@dataclass(frozen=True, slots=True)
class _Pause:
    until: float
    duration_s: float
    outcome: str


_NONE = _Pause(0.0, 0.0, "pending")


class Pauses:
    """Each is for all that is asked of a version: whoever asks for anything else is not kept waiting."""

    def __init__(self) -> None:
        self._pauses: dict[tuple[str, tuple[str, ...]], _Pause] = {}

    def keep(self, wanted: Mapping[str, Revision]) -> None:
        """Forget those of what is wanted no more."""
        current = {(name, revision.request) for name, revision in wanted.items()}
        self._pauses = {key: pause for key, pause in self._pauses.items() if key in current}

    def is_due(self, name: str, revision: Revision) -> bool:
        """Whether it may be tried, for the first time or again."""
        return time.monotonic() >= self._of(name, revision).until

    def unreachable(self, name: str, revision: Revision) -> None:
        """Its files could not be fetched."""
        self._begin(name, revision, UNREACHABLE_S, "unreachable")

    def failed(self, name: str, revision: Revision, outcome: str = "failed") -> None:
        """It was tried, and may yet succeed."""
        duration_s = min(max(FAILED_S, 2 * self._of(name, revision).duration_s), LONGEST_S)
        self._begin(name, revision, duration_s, outcome)

    def refused(self, name: str, revision: Revision) -> None:
        """It must not be served."""
        self._begin(name, revision, math.inf, "refused")

    def outcome(self, name: str, revision: Revision) -> str:
        """`pending` if it has not had its turn, else `unreachable`, `failed` or `refused`."""
        return self._of(name, revision).outcome

    def _of(self, name: str, revision: Revision) -> _Pause:
        return self._pauses.get((name, revision.request), _NONE)

    def _begin(self, name: str, revision: Revision, duration_s: float, outcome: str) -> None:
        self._pauses[name, revision.request] = _Pause(time.monotonic() + duration_s, duration_s, outcome)
