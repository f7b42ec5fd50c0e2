"""Keeps work going that must not end the server that serves, whatever goes wrong in it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from signet_torchserve.control.controller_status import Status

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0  # and each time twice as long
MAX_PAUSE_S = 60.0


def keep_going(
    what: str,
    step: Callable[[], float],
    status: Status,
    stop: threading.Event,
    rest: Callable[[float], object] | None = None,
) -> None:
    """Take step after step until `stop` is set.

    An exception is logged with its traceback and told in `status`; the step is tried again, later and later.

    Args:
        what: the work's name, as the log and `/ready` tell it.
        step: returns the seconds to wait before the next one.
        status: where exceptions are counted.
        stop: ends the work.
        rest: how to wait; until `stop` is set if nothing else is given.
    """
    failures = 0
    while not stop.is_set():
        try:
            pause_s = step()
        except Exception as error:
            pause_s = min(FIRST_PAUSE_S * 2 ** min(failures, 10), MAX_PAUSE_S)
            failures += 1
            logger.exception("%s has failed, and is tried again in %.0f s.", what, pause_s)
            status.note_error(what, error)
        else:
            failures = 0
            status.forget_error(what)
        (rest or stop.wait)(pause_s)
