"""What a client notices of rollouts, rollbacks, and thirty deployments at once, on a stack of plain processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import fmean

from embedded.stack import running
from testing import crowd
from testing.alias_moves import Move, move, wrong
from testing.crowd import Crowd
from testing.numbered_model import NumberedModel
from testing.steady import p99_by_ms

NEW_VERSIONS = 10
QUIET_S = 60
_SETTLED_S = 5


@dataclass(frozen=True, slots=True)
class Rollouts:
    """All that was measured."""

    new: Sequence[Move]
    back: Sequence[Move]
    """At once after each new version, to the first one again, which has hardly ended."""
    rested: Sequence[Move]
    """To and fro between two versions whose archives are in the local store, each when the other one has ended."""
    crowd: Crowd
    requests: int
    failed: Sequence[str]
    """Those that were not answered rightly, by a version whose turn it was."""
    p99_ms: dict[str, float]
    """By what was going on."""


def measure(folder: Path) -> Rollouts:
    """Bring up a stack whose files lie in `folder`, and end it."""
    with running(folder) as stack:
        model = NumberedModel(stack.urls.mlflow, stack.urls.torchserve)
        first, *others = [model.log() for _ in range(1 + NEW_VERSIONS)]
        model.serve(first)
        time.sleep(_SETTLED_S)
        with model.load() as load:
            times = [time.monotonic()]
            time.sleep(QUIET_S)
            times.append(time.monotonic())
            moves = [move(model, version, load) for other in others for version in (other, first)]
            times.append(time.monotonic())
            last, rested = others[-1], []
            for version in [last, *[first, last] * 2]:
                model.wait_until_ended(version)
                rested.append(move(model, version, load))
            model.wait_until_ended(first)
            times.append(time.monotonic())
            came = crowd.deploy(model, first, load)
            times.append(time.monotonic())
    exchanges = load.exchanges
    turns = [*moves, *rested, came.rollback]
    p99 = p99_by_ms(exchanges, times, {"quiet": 0, "rollouts": 1, "crowd": 3})
    return Rollouts(moves[::2], moves[1::2], rested, came, len(exchanges), wrong(exchanges, first, turns), p99)


def bars(measured: Rollouts) -> Iterator[tuple[str, float, float]]:
    """What, the figure, and the most that it may be."""
    yield f"failed of {measured.requests:,} requests during rollouts", len(measured.failed), 0
    yield "p99 during rollouts / quiet", measured.p99_ms["rollouts"] / measured.p99_ms["quiet"], 3
    yield f"alias to a new version's answer, the slowest of {len(measured.new)}, s", _slowest_s(measured.new), 10
    back = [*measured.back, *measured.rested]
    yield f"alias to an old version's answer, the slowest of {len(back)}, s", _slowest_s(back), 5
    yield f"rollback amid {crowd.SIZE} new deployments, s", measured.crowd.rollback.duration_s, 10


def table(measured: Rollouts) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: each kind of move with its steps."""
    kinds = {
        "a new version": measured.new,
        "back, while the old one ends": measured.back,
        "back, when it has ended": measured.rested,
        f"back, amid {crowd.SIZE} new deployments": [measured.crowd.rollback],
    }
    steps = list(dict.fromkeys(chain.from_iterable(it.steps for it in chain(*kinds.values()))))
    rows = [
        [
            kind,
            f"{fmean(it.duration_s for it in moves):.1f} ({_slowest_s(moves):.1f})",
            *(f"{fmean(it.steps.get(step, 0) for it in moves):.1f}" for step in steps),
        ]
        for kind, moves in kinds.items()
    ]
    return ["seconds from the alias to the answer", "mean (slowest)", *steps], rows


def _slowest_s(moves: Sequence[Move]) -> float:
    return max(it.duration_s for it in moves)


def summary(measured: Rollouts) -> str:
    """What the table has no column for."""
    p99 = ", ".join(f"{what} {ms:.0f}" for what, ms in measured.p99_ms.items())
    return (
        f"p99 in ms of a steady load, valid and invalid: {p99}. "
        f"{crowd.SIZE} deployments at once serve after {measured.crowd.duration_s:.0f} s."
    )
