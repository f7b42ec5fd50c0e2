"""The one way to wait: ask again until it is so, or the deadline has passed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import requests

T = TypeVar("T")


def until(what: str, probe: Callable[[], T | None], *, timeout_s: float = 60, interval_s: float = 0.1) -> T:
    """Return the probe's first true result; an HTTP error counts as not yet.

    Raises:
        TimeoutError: there is none in time.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        last: object
        try:
            result = probe()
        except requests.RequestException as error:
            last = error
        else:
            if result:
                return result
            last = result
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not so within {timeout_s:g} s; last seen: {last!r}")
        time.sleep(interval_s)


def until_up(server: subprocess.Popen[bytes], log: Path, is_up: Callable[[], bool], timeout_s: float = 120) -> None:
    """Return when a server that has just been started answers.

    Raises:
        TimeoutError: it does not in time; the error has its log as a note.
        ChildProcessError: the server has ended; the same.
    """

    def answers() -> bool:
        if server.poll() is not None:
            raise ChildProcessError(f"{log.stem} has ended with {server.returncode}.")
        return is_up()

    try:
        until(f"{log.stem} answers", answers, timeout_s=timeout_s)
    except (TimeoutError, ChildProcessError) as error:
        error.add_note(log.read_text("utf-8", "replace"))
        raise


def answers(url: str) -> bool:
    """Whether a GET is answered with a 2xx."""
    return requests.get(url, timeout=10).ok
