"""Champions that could not be brought into service, and when each is tried again."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

from signet_torchserve.champion import Champion

UNREACHABLE_S = 5
FAILED_S = 30  # and each time twice as long
LONGEST_S = 600


@dataclass(frozen=True, slots=True)
class _Pause:
    until: float
    duration_s: float


_NONE = _Pause(0.0, 0.0)


class Pauses:
    """Each is for all that is asked of a version: whoever asks for anything else is not kept waiting."""

    def __init__(self) -> None:
        self._pauses: dict[tuple[str, tuple[str, ...]], _Pause] = {}

    def keep(self, wanted: Mapping[str, Champion]) -> None:
        """Forget those of what is wanted no more."""
        current = {(name, champion.request) for name, champion in wanted.items()}
        self._pauses = {key: pause for key, pause in self._pauses.items() if key in current}

    def is_due(self, name: str, champion: Champion) -> bool:
        """Whether it may be tried, for the first time or again."""
        return time.monotonic() >= self._of(name, champion).until

    def unreachable(self, name: str, champion: Champion) -> None:
        """Its files could not be fetched."""
        self._begin(name, champion, UNREACHABLE_S)

    def failed(self, name: str, champion: Champion) -> None:
        """It was tried, and may yet succeed."""
        self._begin(name, champion, min(max(FAILED_S, 2 * self._of(name, champion).duration_s), LONGEST_S))

    def refused(self, name: str, champion: Champion) -> None:
        """It must not be served."""
        self._begin(name, champion, math.inf)

    def outcome(self, name: str, champion: Champion) -> str:
        """`pending` if it has not had its turn, else `failed` or `refused`."""
        duration_s = self._of(name, champion).duration_s
        return "pending" if not duration_s else "refused" if duration_s == math.inf else "failed"

    def _of(self, name: str, champion: Champion) -> _Pause:
        return self._pauses.get((name, champion.request), _NONE)

    def _begin(self, name: str, champion: Champion, duration_s: float) -> None:
        self._pauses[name, champion.request] = _Pause(time.monotonic() + duration_s, duration_s)
