"""Revisions that could not be brought into service, and when each is tried again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from signet_torchserve.revision import Revision

UNREACHABLE_BACKOFF_S = 5
FIRST_BACKOFF_S = 30  # and each time twice as long
MAX_BACKOFF_S = 600


@dataclass(frozen=True, slots=True)
class _Attempt:
    due_at: float
    """When it is tried again, by `time.monotonic()`."""
    backoff_s: float
    """Seconds from the attempt until then."""
    outcome: str
    needed_mib: float = math.inf
    """Memory that must be free before it is tried again; infinite if it did not fail for memory."""


_NONE = _Attempt(0.0, 0.0, "pending")


class FailedAttempts:
    """The last failed attempt at each revision, on one replica: with another tag a version is tried at once."""

    def __init__(self) -> None:
        self._attempts: dict[tuple[str, tuple[str, ...]], _Attempt] = {}

    def forget_all_but(self, *desired: Mapping[str, Revision]) -> None:
        """Forget the attempts at revisions that are in none of `desired`."""
        current = {(name, revision.asked_for) for each in desired for name, revision in each.items()}
        self._attempts = {key: it for key, it in self._attempts.items() if key in current}

    def is_due(self, name: str, revision: Revision, now: float) -> bool:
        """Whether a version may be tried, for the first time or again."""
        return now >= self._of(name, revision).due_at

    def unreachable(self, name: str, revision: Revision, now: float) -> None:
        """The registry did not answer when its files were fetched."""
        self._note(name, revision, UNREACHABLE_BACKOFF_S, "unreachable", now)

    def failed(self, name: str, revision: Revision, now: float, outcome: str = "failed") -> None:
        """The version was tried, and may yet succeed."""
        backoff_s = min(max(FIRST_BACKOFF_S, 2 * self._of(name, revision).backoff_s), MAX_BACKOFF_S)
        self._note(name, revision, backoff_s, outcome, now)

    def refused(self, name: str, revision: Revision) -> None:
        """The version must not be served."""
        self._note(name, revision, math.inf, "refused", 0.0)

    def no_room(self, name: str, revision: Revision, needed_mib: float) -> None:
        """The version must wait until so much memory is free."""
        self._attempts[name, revision.asked_for] = _Attempt(math.inf, math.inf, "refused", needed_mib)

    def note_free_memory(self, free_mib: float) -> None:
        """Versions that need no more than the free memory are due. They stay `refused` until they were tried."""
        for key, attempt in self._attempts.items():
            if attempt.needed_mib <= free_mib:
                self._attempts[key] = _Attempt(0.0, 0.0, attempt.outcome)

    def outcome(self, name: str, revision: Revision) -> str:
        """`pending` if it has not had its turn, else `unreachable`, `failed` or `refused`."""
        return self._of(name, revision).outcome

    def _of(self, name: str, revision: Revision) -> _Attempt:
        return self._attempts.get((name, revision.asked_for), _NONE)

    def _note(self, name: str, revision: Revision, backoff_s: float, outcome: str, now: float) -> None:
        self._attempts[name, revision.asked_for] = _Attempt(now + backoff_s, backoff_s, outcome)
