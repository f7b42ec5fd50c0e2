"""Requests on which enforcement is still deciding, while their worker answers others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, wait
from dataclasses import dataclass
from threading import Thread
from typing import NamedTuple

from signet_contract.decoded_request import DecodedRequest
from signet_contract.model_input import ModelInput

ARE_KEPT = "SIGNET_UNDECIDED"
"""Environment variable that says `true` if TorchServe, being patched, keeps a request that its batch leaves undecided.

Else the whole batch waits until all its requests are decided.
"""
WAIT_S = 0.001
"""How long a batch waits for decisions if all of its requests are undecided. Then new requests may join it."""
FRESH_S = 0.004
"""How long a batch waits instead for a question that was asked less than `WAIT_S` ago: most decisions take less."""


class Admitted(NamedTuple):
    """A request that the contract admits."""

    decoded: DecodedRequest
    model_input: ModelInput
    """What to call the model with for it."""


@dataclass(slots=True)
class Question:
    """One request that enforcement was asked about."""

    decoded: DecodedRequest
    decision: Future[ModelInput]
    began: float
    """Of `time.monotonic`."""


class Undecided(dict[bytes, Question]):
    """The questions that one worker has asked enforcement, by TorchServe's identifiers of the undecided requests."""

    def __init__(self) -> None:
        super().__init__()
        self.are_kept = os.environ.get(ARE_KEPT) == "true"

    def ask(
        self, identifier: bytes, decoded: DecodedRequest, decide: Callable[[DecodedRequest, float], ModelInput]
    ) -> None:
        """Ask `decide` about a request, in a thread. It gets the request, and the time since which the client waits."""
        question = Question(decoded, Future(), time.monotonic())
        self[identifier] = question
        # A thread for each question: it only waits. It is daemonic because a worker that ends must not wait for it.
        Thread(target=_decide, args=(question, decide), daemon=True).start()

    def take(self, identifier: bytes) -> Question | None:
        """Remove and return the question about a request if it is decided, else None."""
        if not self[identifier].decision.done():
            return None
        return self.pop(identifier)

    def wait(self) -> None:
        """Wait until all are decided; where TorchServe keeps undecided requests, `WAIT_S` or `FRESH_S` at most."""
        if not self.are_kept:
            wait([question.decision for question in self.values()])
            return
        youngest = max(question.began for question in self.values())
        is_fresh = time.monotonic() - youngest < WAIT_S
        wait([question.decision for question in self.values()], FRESH_S if is_fresh else WAIT_S)

    def keep_only(self, named: Collection[bytes]) -> None:
        """Forget the requests that TorchServe names no more: their clients are gone."""
        for identifier in self.keys() - named:
            self.pop(identifier).decision.cancel()


def _decide(question: Question, decide: Callable[[DecodedRequest, float], ModelInput]) -> None:
    if question.decision.set_running_or_notify_cancel():
        try:
            question.decision.set_result(decide(question.decoded, question.began))
        except Exception as error:  # noqa: BLE001 -- for whoever takes the question
            question.decision.set_exception(error)
