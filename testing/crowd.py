"""Many deployments at once, beside one that serves and whose rollback is asked for in the middle of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from testing.alias_moves import Move, move
from testing.numbered_model import NumberedModel
from testing.polling import until
from testing.steady import Load

SIZE = 30
_PATIENCE = {"timeout_s": 300.0, "interval_s": 0.5}


@dataclass(frozen=True, slots=True)
class Crowd:
    """What came of them."""

    names: Sequence[str]
    duration_s: float
    """From the aliases to the last one's first answer."""
    rollback: Move
    """Of the model that serves, asked for as soon as the first of them served."""
    served_before: int
    """How many had come into service when its rollback answered."""


def deploy(model: NumberedModel, to: str, load: Load) -> Crowd:
    """Give the alias to `SIZE` new models at once, and roll back the one under load to version `to` meanwhile.

    Raises:
        TimeoutError: they do not all serve in time.
    """
    names = tuple(f"{model.name}-{number:02}" for number in range(SIZE))
    model.copy(to, names)
    model.deploy(names)
    asked = time.monotonic()
    served_at: dict[str, float] = {}

    def all_serve() -> bool:
        for name in names:
            if name not in served_at and model.answering(name) is not None:
                served_at[name] = time.monotonic()
        return len(served_at) == SIZE

    # A thread watches them: a move returns only when the version's tags are right too, and these may follow seconds
    # after its answer while so many come into service.
    with ThreadPoolExecutor(max_workers=1) as pool:
        watching = pool.submit(lambda: until("the crowd is served", all_serve, **_PATIENCE))
        until("the first of the crowd is served", lambda: served_at, **_PATIENCE)
        rollback = move(model, to, load)
        watching.result()
    served_before = sum(moment < rollback.answered for moment in served_at.values())
    return Crowd(names, max(served_at.values()) - asked, rollback, served_before)


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
