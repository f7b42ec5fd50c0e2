"""Revisions that could not be brought into service, and when each is tried again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from signet_torchserve.revision import Revision

UNREACHABLE_S = 5
FAILED_S = 30  # and each time twice as long
LONGEST_S = 600


@dataclass(frozen=True, slots=True)
class _Wait:
    until: float
    duration_s: float
    outcome: str
    needed_mib: float = math.inf


_NONE = _Wait(0.0, 0.0, "pending")


class Backoff:
    """The waits of one replica. A wait belongs to a version with its tags: with another tag it is tried at once."""

    def __init__(self) -> None:
        self._waits: dict[tuple[str, tuple[str, ...]], _Wait] = {}

    def keep(self, *desired: Mapping[str, Revision]) -> None:
        """Forget those of what is in none of `desired`."""
        current = {(name, revision.request) for each in desired for name, revision in each.items()}
        self._waits = {key: wait for key, wait in self._waits.items() if key in current}

    def is_due(self, name: str, revision: Revision, now: float) -> bool:
        """Whether a version may be tried, for the first time or again."""
        return now >= self._of(name, revision).until

    def unreachable(self, name: str, revision: Revision, now: float) -> None:
        """The registry did not answer when its files were fetched."""
        self._begin(name, revision, UNREACHABLE_S, "unreachable", now)

    def failed(self, name: str, revision: Revision, now: float, outcome: str = "failed") -> None:
        """The version was tried, and may yet succeed."""
        duration_s = min(max(FAILED_S, 2 * self._of(name, revision).duration_s), LONGEST_S)
        self._begin(name, revision, duration_s, outcome, now)

    def refused(self, name: str, revision: Revision) -> None:
        """The version must not be served."""
        self._begin(name, revision, math.inf, "refused", 0.0)

    def no_room(self, name: str, revision: Revision, needed_mib: float) -> None:
        """The version must wait until so much memory is free."""
        self._waits[name, revision.request] = _Wait(math.inf, math.inf, "refused", needed_mib)

    def has_room(self, free_mib: float) -> None:
        """Versions that need no more than the free memory are due. They stay `refused` until they were tried."""
        for key, wait in self._waits.items():
            if wait.needed_mib <= free_mib:
                self._waits[key] = _Wait(0.0, 0.0, wait.outcome)

    def outcome(self, name: str, revision: Revision) -> str:
        """`pending` if it has not had its turn, else `unreachable`, `failed` or `refused`."""
        return self._of(name, revision).outcome

    def _of(self, name: str, revision: Revision) -> _Wait:
        return self._waits.get((name, revision.request), _NONE)

    def _begin(self, name: str, revision: Revision, duration_s: float, outcome: str, now: float) -> None:
        self._waits[name, revision.request] = _Wait(now + duration_s, duration_s, outcome)
