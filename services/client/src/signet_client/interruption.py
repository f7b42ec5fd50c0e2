"""Signals that end a command, whoever started it."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def interruptible() -> Iterator[None]:
    """Within it, SIGINT and SIGTERM raise KeyboardInterrupt, so that what was begun is cleaned up.

    SIGINT needs this, too: a shell starts a command with `&` so that it ignores SIGINT, and Python keeps that. Handlers
    that somebody else has set stay. So do all handlers outside the main thread, where none can be set.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number, unset in ((signal.SIGINT, signal.SIG_IGN), (signal.SIGTERM, signal.SIG_DFL)):
            if signal.getsignal(number) is unset:
                before[number] = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
