"""What a slow request costs its neighbours: right ones in a batch with one that takes the enforcement service long."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from bench import model
from bench.at_once import Connections
from bench.contenders import NOTHING, signet
from testing.steady import p99_of

NEIGHBOURS = 31
SLOW_S = 0.2
_TIMES = 6
"""In each round."""
_MOST_ROWS = 440_000  # some 6.2 MB


@dataclass(frozen=True, slots=True)
class Neighbours:
    """All that was measured, in ms."""

    alone_ms: float
    """p99 of the neighbours in a batch of their own."""
    beside_ms: float
    """p99 of the neighbours in a batch with the slow request."""
    slow_ms: float
    """Median of the slow request itself."""


def measure(saved: Path, folder: Path, rounds: int) -> Neighbours:
    """Serve a saved MLflow model from files in `folder`, a new one, and ask for batches of both kinds in turn."""
    with signet(saved, folder, NOTHING) as contender:
        path = urlsplit(contender.url).path
        neighbours = Connections(contender.url, NEIGHBOURS, model.VALID)
        slow = _slow(contender.url, path)
        alone: list[float] = []
        beside: list[float] = []
        slow_s: list[float] = []
        for _ in range(rounds * _TIMES):
            alone += neighbours.ask_each(path)
            began = time.perf_counter()
            slow.send(path)
            beside += neighbours.ask_each(path)
            slow_s += [done - began for done in slow.answers()]
    return Neighbours(p99_of(alone), p99_of(beside), median(slow_s) * 1e3)


def _slow(url: str, path: str) -> Connections:
    """A connection whose wrong body takes at least `SLOW_S`."""
    rows = 1_000
    while True:
        # The first row is wrong. All others are looked at, as columns of whole numbers alone are wrong in another way.
        data = [[5, 3, 1, "wide"], *[[5, 3, 1, 0]] * rows]
        body = json.dumps({"dataframe_split": {"columns": model.COLUMNS, "data": data}}).encode()
        connection = Connections(url, 1, body, expected=400)
        if min(connection.ask(path) for _ in range(3)) >= SLOW_S or rows >= _MOST_ROWS:
            return connection
        rows = min(2 * rows, _MOST_ROWS)


def bars(measured: Neighbours) -> Iterator[tuple[str, float, float]]:
    """What, the figure, and the most that it may be."""
    what = f"p99 of {NEIGHBOURS} requests beside one of {measured.slow_ms:.0f} ms / without it"
    yield what, measured.beside_ms / measured.alone_ms, 1.5
