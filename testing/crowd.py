"""Many deployments at once, beside one that serves and whose rollback is asked for in the middle of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from testing.alias_moves import Move, move
from testing.numbered_model import NumberedModel
from testing.polling import until
from testing.steady import Load

SIZE = 30
_PATIENCE = {"timeout_s": 300.0, "interval_s": 1.0}


@dataclass(frozen=True, slots=True)
class Crowd:
    """What came of them."""

    names: Sequence[str]
    duration_s: float
    """From the aliases to the last one's first answer."""
    rollback: Move
    """Of the model that serves, when a third of them served."""
    served_before: int
    """How many had come into service when it had rolled back."""


def deploy(model: NumberedModel, to: str, load: Load) -> Crowd:
    """Give the alias to `SIZE` new models at once, and roll back the one under load to version `to` meanwhile.

    Raises:
        TimeoutError: they do not all serve in time.
    """
    waiting = [f"{model.name}-{number:02}" for number in range(SIZE)]
    names = tuple(waiting)
    model.copy(to, names)
    model.deploy(names)
    asked = time.monotonic()

    def come_into_service(at_least: int) -> bool:
        waiting[:] = [name for name in waiting if model.answering(name) is None]
        return SIZE - len(waiting) >= at_least

    until("a third of the crowd is served", lambda: come_into_service(SIZE // 3), **_PATIENCE)
    rollback = move(model, to, load)
    come_into_service(SIZE)
    served_before = SIZE - len(waiting)
    until("the crowd is served", lambda: come_into_service(SIZE), **_PATIENCE)
    return Crowd(names, time.monotonic() - asked, rollback, served_before)


def withdraw(model: NumberedModel, crowd: Crowd) -> float:
    """Delete them all from the registry; seconds until none answers any more."""
    began = time.monotonic()
    for name in crowd.names:
        model.client.delete_registered_model(name)
    remaining = list(crowd.names)

    def are_gone() -> bool:
        remaining[:] = [name for name in remaining if model.answering(name) is not None]
        return not remaining

    until("the crowd is gone", are_gone, **_PATIENCE)
    return time.monotonic() - began
