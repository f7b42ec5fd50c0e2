"""Restarts services of a stack that have ended, while the others go on."""

import time
from dataclasses import dataclass

from embedded.errors import ServiceDied, ServiceNotReady
from embedded.stack import Stack

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_LASTING_S = 60.0  # a service that has run so long begins with the first pause again


@dataclass
class _Ends:
    """How often a service has ended, and why and when it last did."""

    count: int
    why: str
    at: float
    pause_s: float

    def __str__(self) -> str:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.at))
        return f"ended {self.count} time{'s' * (self.count > 1)}, last at {at} ({self.why})"


class Restarter:
    """Looks after a stack; each service that ends has a pause of its own, which doubles while it doesn't last."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._ends: dict[str, _Ends] = {}
        self._waiting: list[str] = []

    @property
    def ends(self) -> dict[str, str]:
        """How often each service ended and why, in words, by the service's name."""
        return {name: str(ends) for name, ends in self._ends.items()}

    def look(self) -> None:
        """Notes which services have ended, and restarts those whose pause is over."""
        now = time.time()
        for name in [name for name in self._waiting if now >= self._ends[name].at + self._ends[name].pause_s]:
            self._waiting.remove(name)
            self._stack.start_again(name)
        try:
            self._stack.advance()
        except (ServiceDied, ServiceNotReady) as error:
            print(error, flush=True)
            self._note(error, now)

    def _note(self, error: ServiceDied | ServiceNotReady, now: float) -> None:
        before = self._ends.get(error.name)
        lasted = before is None or now - before.at > before.pause_s + _LASTING_S
        pause_s = _FIRST_PAUSE_S if before is None or lasted else min(2 * before.pause_s, _LONGEST_PAUSE_S)
        self._ends[error.name] = _Ends((before.count if before else 0) + 1, error.why, now, pause_s)
        self._waiting.append(error.name)
