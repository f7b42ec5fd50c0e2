"""Moving the alias under load: when the new version answers, what each step takes, and who answers out of turn."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from signet_torchserve.revision import REASON, STATUS

from testing.numbered_model import NumberedModel
from testing.polling import until
from testing.repository import ALIAS
from testing.steady import Exchange, Load

_INTERVAL_S = 0.02
_STEP = re.compile(r"(\w+) (\d+\.\d+)")


@dataclass(frozen=True, slots=True)
class Move:
    """The alias goes to a version; the times are those of `time.monotonic`."""

    version: str
    asked: float
    answered: float
    """When the version's first answer had come."""
    steps: dict[str, float]
    """Seconds by step as the controller counts them; `poll` is the rest, the wait for its next look at the registry."""

    @property
    def duration_s(self) -> float:
        return self.answered - self.asked

    def __str__(self) -> str:
        steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in self.steps.items())
        return f"version {self.version} answers {self.duration_s:.1f} s after the alias moved ({steps})"


def move(model: NumberedModel, version: str, load: Load) -> Move:
    """Move the alias under this load, and return when the version answers and its tags say so.

    Raises:
        TimeoutError: it does not in time.
    """
    reason_before = model.tags(version).get(REASON)
    asked = time.monotonic()
    model.client.set_registered_model_alias(model.name, ALIAS, version)

    def answers() -> list[float]:
        return [it.done for it in load.since(asked) if it.version == version]

    answered = until(f"{model.name} version {version} answers", answers, interval_s=_INTERVAL_S)[0]
    until(f"{model.name} version {version} is marked as ready", lambda: _is_ready(model.tags(version), reason_before))
    told = model.tags(version)[REASON].partition("(")[2]
    steps = {step: float(seconds) for step, seconds in _STEP.findall(told)}
    return Move(version, asked, answered, {"poll": answered - asked - sum(steps.values())} | steps)


def _is_ready(tags: dict[str, str], reason_before: str | None) -> bool:
    return tags.get(STATUS) == "ready" and tags.get(REASON) != reason_before


def wrong(exchanges: Sequence[Exchange], first: str, moves: Sequence[Move]) -> list[str]:
    """The exchanges that were not answered rightly, or by a version whose turn it was not."""
    return [str(it) for it in (*(it for it in exchanges if not it.is_right), *out_of_turn(exchanges, first, moves))]


def out_of_turn(exchanges: Iterable[Exchange], first: str, moves: Sequence[Move]) -> list[Exchange]:
    """The answers by a version that was the default neither when they were asked for nor when they were given.

    A version's turn begins when the alias is moved to it and ends when the next one's first answer has come: with one
    replica, whoever asks after that asks the next one. `first` had the alias before the moves.
    """
    begins = [(first, -math.inf), *((it.version, it.asked) for it in moves)]
    ends = [*(it.answered for it in moves), math.inf]
    turns = [(version, begin, end) for (version, begin), end in zip(begins, ends, strict=True)]
    return [
        it
        for it in exchanges
        if it.version is not None
        and not any(it.version == version and it.done >= begin and it.sent <= end for version, begin, end in turns)
    ]
