"""Questions that are open, without the worker that asks them."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import numpy as np
import pytest
from signet_contract import ModelInput, decode
from signet_torchserve.worker.undecided_requests import ARE_KEPT, FRESH_S, Undecided

from testing.polling import until

REQUEST = decode(b'{"a": 1.5}')
MODEL_INPUT = ModelInput(np.zeros((1, 1)), {}, framed=True)


@pytest.fixture
def undecided(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Undecided:
    """None yet; TorchServe keeps them unless a test says otherwise."""
    monkeypatch.setenv(ARE_KEPT, getattr(request, "param", "true"))
    return Undecided()


def after(event: Event, timeout_s: float = 10) -> Callable[..., ModelInput]:
    """Decide when something has happened, or has not in time."""

    def decide(*_: object) -> ModelInput:
        event.wait(timeout_s)
        return MODEL_INPUT

    return decide


def test_a_question_is_taken_once_it_is_decided(undecided: Undecided) -> None:
    """Until then it is there, and is given to nobody."""
    is_decided = Event()
    undecided.ask(b"1", REQUEST, after(is_decided))
    assert b"1" in undecided
    assert undecided.take(b"1") is None
    is_decided.set()
    question = until("it is decided", lambda: undecided.take(b"1"), interval_s=0.001)
    assert question.decoded is REQUEST
    assert question.decision.result() is MODEL_INPUT
    assert not undecided


def test_what_deciding_raises_is_raised_for_who_takes_the_question(undecided: Undecided) -> None:
    """In the thread that answers, not in the one that waits."""

    def decide(*_: object) -> ModelInput:
        raise KeyError("a")

    undecided.ask(b"1", REQUEST, decide)
    question = until("it is decided", lambda: undecided.take(b"1"), interval_s=0.001)
    with pytest.raises(KeyError, match="a"):
        question.decision.result()


@pytest.mark.parametrize(("undecided", "waits"), [("true", False), ("false", True)], indirect=["undecided"])
def test_all_are_waited_for_only_where_none_is_kept(undecided: Undecided, waits: bool) -> None:
    """Where TorchServe names them again, new requests are answered meanwhile."""
    is_decided = Event()
    undecided.ask(b"1", REQUEST, lambda *_: MODEL_INPUT)
    undecided.ask(b"2", REQUEST, after(is_decided, 20 * FRESH_S))
    undecided.wait()
    assert (undecided.take(b"2") is not None) is waits
    is_decided.set()


def test_who_is_named_no_more_is_forgotten(undecided: Undecided) -> None:
    """The others stay."""
    is_decided = Event()
    for identifier in (b"1", b"2"):
        undecided.ask(identifier, REQUEST, after(is_decided))
    undecided.keep_only({b"2", b"3"})
    assert (len(undecided), b"1" in undecided, b"2" in undecided) == (1, False, True)
    is_decided.set()
