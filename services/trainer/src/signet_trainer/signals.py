"""Ctrl-C and `docker stop`: both end a training the same way, at once."""

import signal
from types import FrameType

_received: list[int] = []


def stop_on_signals() -> None:
    """Make SIGTERM do what Ctrl-C does: only on KeyboardInterrupt does Lightning kill its helper processes.

    SIGINT too, which a shell has the commands that it starts with `&` ignore.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)


def received() -> int:
    """The signal that interrupted the program: SIGINT unless a SIGTERM came."""
    return _received[-1] if _received else signal.SIGINT


def _interrupt(signum: int, _frame: FrameType | None) -> None:
    _received.append(signum)
    raise KeyboardInterrupt
