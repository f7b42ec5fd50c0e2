"""The one way these tests wait: ask again until it's so or the deadline has passed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import requests

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def until(what: str, probe: Callable[[], T | None], *, timeout_s: float, interval_s: float = 0.2) -> T:
    """Return the probe's first true result; an HTTP error counts as not yet. Raises AssertionError at the deadline."""
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
            raise AssertionError(f"{what}: not so within {timeout_s:g} s; last seen: {last!r}")
        time.sleep(interval_s)
