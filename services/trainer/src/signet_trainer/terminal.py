"""Lines on the trainer's two output streams, and the signals that end it: of Ctrl-C and `docker stop`."""

import signal
import sys
from types import FrameType

_received: list[int] = []


def say(message: str) -> None:
    """One line on stdout, at once: container logs are read while the training runs."""
    print(message, flush=True)  # noqa: T201 -- the one place that prints


def complain(message: str) -> None:
    """One line on stderr, with the program's name as compilers and shells do it."""
    print(f"signet-train: {message}", file=sys.stderr, flush=True)  # noqa: T201 -- as above


def stop_on_signals() -> None:
    """Make SIGTERM and SIGINT raise KeyboardInterrupt: only then does Lightning kill its helper processes.

    SIGINT is set, too: a shell starts a command with `&` so that it ignores SIGINT.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)


def received() -> int:
    """The signal that interrupted the program: SIGINT unless a SIGTERM came."""
    return _received[-1] if _received else signal.SIGINT


def _interrupt(signum: int, _frame: FrameType | None) -> None:
    _received.append(signum)
    raise KeyboardInterrupt
