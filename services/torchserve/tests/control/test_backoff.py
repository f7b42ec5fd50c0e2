from __future__ import annotations

import pytest
from signet_torchserve.control import backoff
from signet_torchserve.control.backoff import Pauses
from signet_torchserve.revision import Revision

IRIS = Revision("3", {"serving.workers": "2"})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in its one element."""
    now = [1000.0]
    monkeypatch.setattr(backoff.time, "monotonic", lambda: now[0])
    return now


def test_what_fails_is_tried_again_later_and_later(clock: list[float]) -> None:
    """After half a minute, then twice as long each time, and never more than ten minutes."""
    found, waited = Pauses(), []
    assert found.is_due("iris", IRIS)
    for _ in range(7):
        found.failed("iris", IRIS)
        began = clock[0]
        while not found.is_due("iris", IRIS):
            clock[0] += 1
        waited.append(clock[0] - began)
    assert waited == [30, 60, 120, 240, 480, 600, 600]
    assert found.outcome("iris", IRIS) == "failed"


def test_what_is_refused_is_not_tried_again(clock: list[float]) -> None:
    """Whatever time goes by; another request for the same version is looked at at once."""
    found = Pauses()
    assert found.outcome("iris", IRIS) == "pending"
    found.refused("iris", IRIS)
    clock[0] += 1e9
    assert not found.is_due("iris", IRIS)
    assert found.outcome("iris", IRIS) == "refused"
    assert found.is_due("iris", Revision("3"))
    assert found.is_due("digits", IRIS)


def test_what_is_wanted_no_more_is_forgotten(clock: list[float]) -> None:
    """Who asks for it anew does not wait."""
    found = Pauses()
    found.unreachable("iris", IRIS)
    assert not found.is_due("iris", IRIS)
    found.keep({"iris": IRIS})
    assert not found.is_due("iris", IRIS)
    found.keep({"iris": Revision("4")})
    assert found.is_due("iris", IRIS)
    assert clock == [1000.0]
