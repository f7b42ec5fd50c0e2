"""What each clever piece gains: Signet with all of them, beside Signet without one, and without any.

All run at once and take turns, so that a drift of the machine is everyone's.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from operator import attrgetter
from pathlib import Path

from signet_torchserve.switchable_pieces import PLAIN, Piece

from bench import load, model
from bench.contenders import Contender, signet
from bench.load import Memory, Rate

WITH_ALL = "all pieces"
WAYS: Mapping[str, Mapping[str, str]] = {
    WITH_ALL: {},
    **{f"without {piece.value}": {piece.value: "false"} for piece in Piece},
    "without any": {PLAIN: "true"},
}
"""The settings of each way to run."""
Point = tuple[str, int, bool]
"""A way to run, connections, whether the requests are valid."""


@dataclass(slots=True)
class Pieces:
    """All that was measured."""

    rounds: dict[Point, list[Rate]] = field(default_factory=dict)
    memory: dict[str, Memory] = field(default_factory=dict)
    """Of the worker, when it has answered valid and invalid requests."""
    start_s: dict[str, float] = field(default_factory=dict)
    """Seconds until its worker was ready."""

    def gain(self, way: str, connections: int, figure: Callable[[Rate], float], *, valid: bool = True) -> float:
        """Median of the rounds' ratios of a figure with all pieces to the same without those of `way`."""
        pairs = zip(self.rounds[WITH_ALL, connections, valid], self.rounds[way, connections, valid], strict=True)
        return statistics.median(figure(ours) / figure(theirs) for ours, theirs in pairs)


def measure(saved: Path, folder: Path, connections: Sequence[int], seconds: int, rounds: int) -> Pieces:
    """Measure each way to run at each number of connections.

    Args:
        saved: the MLflow model that they serve.
        folder: where everything that they write goes.
        connections: how many there are, one after the other.
        seconds: how long each load lasts.
        rounds: how often each has its turn.
    """
    found = Pieces()
    with contextlib.ExitStack() as stack:
        running: dict[str, Contender] = {}
        for number, (way, settings) in enumerate(WAYS.items()):
            contender = stack.enter_context(signet(saved, folder / f"way{number}", settings))
            running[way] = contender
            found.start_s[way] = contender.start_s
            load.run(contender, model.VALID, 8, 1, valid=True)
        for count, _ in product(connections, range(rounds)):
            for (way, contender), valid in product(running.items(), (True, False)):
                body = model.VALID if valid else model.INVALID
                rate = load.run(contender, body, count, seconds, valid=valid)
                found.rounds.setdefault((way, count, valid), []).append(rate)
        found.memory = {way: load.memory(contender) for way, contender in running.items()}
    return found


def table(found: Pieces) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: what all pieces together are to each way, as factors; 1 where a piece gains nothing."""
    connections = sorted({count for _, count, _ in found.rounds})
    heads = [
        "all pieces / …",
        *(f"requests/s at {count}" for count in connections),
        *(f"rejections/s at {count}" for count in connections),
        *(f"p99 at {count}" for count in connections),
        "worker's PSS",
        "worker's start",
    ]
    return heads, list(_rows(found, connections))


def _rows(found: Pieces, connections: Sequence[int]) -> Iterator[list[str]]:
    rate, p99 = attrgetter("requests_per_s"), attrgetter("p99_ms")
    for way in WAYS:
        if way == WITH_ALL:
            continue
        gains = [
            *(found.gain(way, count, rate) for count in connections),
            *(found.gain(way, count, rate, valid=False) for count in connections),
            *(found.gain(way, count, p99) for count in connections),
            found.memory[WITH_ALL].pss_mib / found.memory[way].pss_mib,
            found.start_s[WITH_ALL] / found.start_s[way],
        ]
        yield [way, *(f"{gain:.2f}" for gain in gains)]


def document(found: Pieces) -> list[dict[str, object]]:
    """The same as JSON."""
    heads, rows = table(found)
    return [dict(zip(heads, row, strict=True)) for row in rows]
