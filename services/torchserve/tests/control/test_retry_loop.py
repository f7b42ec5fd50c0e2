from __future__ import annotations

import threading

import pytest
from signet_torchserve.control.controller_status import Status
from signet_torchserve.control.retry_loop import keep_going


@pytest.mark.parametrize("error", [RuntimeError("x"), OSError(36, "File name too long"), KeyError("x"), MemoryError()])
def test_whatever_goes_wrong_is_told_and_tried_again(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """A step that raises is taken again, later and later; the log has the traceback, the status what is so now."""
    status, stop, waited, told = Status(), threading.Event(), list[float](), list[dict[str, str]]()
    outcomes: list[Exception | float] = [error, error, error, 5.0, error, 7.0]

    def step() -> float:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def rest(seconds: float) -> None:
        waited.append(seconds)
        told.append(dict(status.troubles))
        if not outcomes:
            stop.set()

    keep_going("The controller", step, status, stop, rest)
    assert waited == [1, 2, 4, 5, 1, 7]
    trouble = {"The controller": f"{type(error).__name__}: {error}"}
    assert told == [trouble, trouble, trouble, {}, trouble, {}]
    assert status.errors == 4
    assert caplog.text.count("Traceback (most recent call last)") == 4


def test_the_pause_has_an_end() -> None:
    """However often it has failed, it is tried again within a minute."""
    stop, waited = threading.Event(), list[float]()

    def rest(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 20:
            stop.set()

    def fail() -> float:
        raise RuntimeError

    keep_going("The controller", fail, Status(), stop, rest)
    assert waited[-1] == max(waited) == 60
