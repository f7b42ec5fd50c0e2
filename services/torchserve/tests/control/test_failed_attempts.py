from __future__ import annotations

from signet_torchserve.control.failed_attempts import FailedAttempts
from signet_torchserve.revision import Revision

IRIS = Revision("3", {"serving.workers": "2"})


def test_what_fails_is_tried_again_later_and_later() -> None:
    """After half a minute, then twice as long each time, and never more than ten minutes."""
    attempts, waited, now = FailedAttempts(), list[float](), 1000.0
    assert attempts.is_due("iris", IRIS, now)
    for _ in range(7):
        attempts.failed("iris", IRIS, now)
        began = now
        while not attempts.is_due("iris", IRIS, now):
            now += 1
        waited.append(now - began)
    assert waited == [30, 60, 120, 240, 480, 600, 600]
    assert attempts.outcome("iris", IRIS) == "failed"


def test_what_is_refused_is_not_tried_again() -> None:
    """However long it waits, it is not due. With another tag it is due at once."""
    attempts = FailedAttempts()
    assert attempts.outcome("iris", IRIS) == "pending"
    attempts.refused("iris", IRIS)
    assert not attempts.is_due("iris", IRIS, 1e9)
    assert attempts.outcome("iris", IRIS) == "refused"
    assert attempts.is_due("iris", Revision("3"), 0.0)
    assert attempts.is_due("digits", IRIS, 0.0)


def test_what_waits_for_memory_is_tried_when_there_is_enough() -> None:
    """It is not due before, however long it waits, and is called refused until it was tried."""
    attempts = FailedAttempts()
    attempts.no_room("iris", IRIS, 300.0)
    for free_mib in (0.0, 299.0):
        attempts.note_free_memory(free_mib)
        assert not attempts.is_due("iris", IRIS, 1e9)
    attempts.note_free_memory(300.0)
    assert attempts.is_due("iris", IRIS, 0.0)
    assert attempts.outcome("iris", IRIS) == "refused"
    attempts.refused("iris", IRIS)
    attempts.note_free_memory(1e9)
    assert not attempts.is_due("iris", IRIS, 1e9)


def test_what_is_desired_no_more_is_forgotten() -> None:
    """If it is asked for again, it does not wait."""
    attempts = FailedAttempts()
    attempts.unreachable("iris", IRIS, 1000.0)
    attempts.forget_all_but({"iris": IRIS})
    assert not attempts.is_due("iris", IRIS, 1000.0)
    attempts.forget_all_but({"iris": Revision("4")})
    assert attempts.is_due("iris", IRIS, 1000.0)
