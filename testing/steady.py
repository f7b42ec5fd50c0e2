"""A steady load of valid and invalid requests, and what came of each: for rollouts, where every single answer counts.

The rate is the load's own and not the server's: while one connection waits for its answer the others go on asking.
"""

from __future__ import annotations

import http.client
import itertools
import json
import math
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

REQUESTS_PER_S = 100
CONNECTIONS = 16
TIMEOUT_S = 30
# Python's own, 5 ms, would be in the time of each answer that comes while another thread of this process computes.
_SWITCH_S = 0.0002


@dataclass(frozen=True, slots=True)
class Question:
    """A request whose right answer is known, whichever version gives it."""

    body: bytes
    status: int
    answer: Callable[[str], Any]
    """The JSON document that a version has to answer with."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what came of it; the times are those of `time.monotonic`."""

    question: Question
    sent: float
    done: float
    status: int | None
    """None where the connection failed."""
    version: str | None
    """What the answer's `X-Model-Version` says."""
    text: str
    """The answer, or what was wrong with the connection."""

    @property
    def is_right(self) -> bool:
        """Whether it is, to the letter, what the version that it names has to say."""
        if self.status != self.question.status or self.version is None:
            return False
        return bool(json.loads(self.text) == self.question.answer(self.version))

    @property
    def is_lost(self) -> bool:
        """Whether there was no answer, and the client was told so: by the connection's end, or by a 5xx."""
        return self.status is None or self.status >= http.HTTPStatus.INTERNAL_SERVER_ERROR

    def __str__(self) -> str:
        asked = f"{self.question.body.decode()} was answered {self.status} by version {self.version}"
        return f"{asked} at {self.done:.3f} after {(self.done - self.sent) * 1e3:.0f} ms: {self.text[:300]}"


class Load:
    """Asks as long as its context lasts, over connections that are kept alive.

    Args:
        url: where the predictions are asked for.
        questions: what is asked, one after the other and again.
    """

    def __init__(self, url: str, questions: Sequence[Question]) -> None:
        self._address = urlsplit(url)
        self._questions = itertools.cycle(questions)
        self._exchanges: list[Exchange] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask_on_and_on, args=(number / REQUESTS_PER_S,), daemon=True)
            for number in range(CONNECTIONS)
        ]

    def __enter__(self) -> Self:
        self._switch_s = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_S)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        sys.setswitchinterval(self._switch_s)

    @property
    def exchanges(self) -> list[Exchange]:
        """All that are done by now, in the order in which they were done."""
        return self._exchanges.copy()

    def since(self, time_s: float) -> list[Exchange]:
        """Those that were done after a time, in that order."""
        late = itertools.takewhile(lambda it: it.done > time_s, reversed(self._exchanges))
        return list(late)[::-1]

    def _ask_on_and_on(self, first_after_s: float) -> None:
        connection = http.client.HTTPConnection(self._address.netloc, timeout=TIMEOUT_S)
        due, interval_s = time.monotonic() + first_after_s, CONNECTIONS / REQUESTS_PER_S
        while not self._over.wait(max(0.0, due - time.monotonic())):
            self._exchanges.append(self._ask(connection, next(self._questions)))
            # One that is late leaves out turns: after a pause all would ask at once from then on.
            due += interval_s * max(1, math.ceil((time.monotonic() - due) / interval_s))
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, question: Question) -> Exchange:
        sent = time.monotonic()
        status, version = None, None
        try:
            connection.request("POST", self._address.path, question.body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
            status, version = answer.status, answer.headers["X-Model-Version"]
        except (http.client.HTTPException, OSError) as error:
            connection.close()
            text = repr(error)
        return Exchange(question, sent, time.monotonic(), status, version, text)


def p99_by_ms(exchanges: Sequence[Exchange], times: Sequence[float], begins: Mapping[str, int]) -> dict[str, float]:
    """The 99th percentile of the requests that were sent between two of these times, by what was going on.

    Args:
        exchanges: all of them.
        times: when something else began, of `time.monotonic`.
        begins: at which of these times each began; it ended at the next.
    """
    return {
        what: p99_ms(it for it in exchanges if times[begin] <= it.sent < times[begin + 1])
        for what, begin in begins.items()
    }


def p99_ms(exchanges: Iterable[Exchange]) -> float:
    """The time in milliseconds within which 99 of 100 requests were answered."""
    return p99_of(it.done - it.sent for it in exchanges)


def p99_of(seconds: Iterable[float]) -> float:
    """The 99th percentile of some times, in milliseconds."""
    return statistics.quantiles(seconds, n=100)[98] * 1e3
