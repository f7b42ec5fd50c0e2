"""The steps of bringing a stack up, with their times."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Step:
    """One step; times in seconds since the epoch, since another process may show them."""

    name: str
    began: float
    ended: float | None = None
    note: str = ""
    failed: bool = False

    @property
    def seconds(self) -> float:
        return (self.ended or time.time()) - self.began


class StepTimes:
    """Keeps the steps in the order they began, and tells `on_change` with every tick."""

    def __init__(self, on_change: Callable[["StepTimes"], None] = lambda _: None) -> None:
        self.steps: list[Step] = []
        self._on_change = on_change

    def begin(self, name: str) -> None:
        self.steps.append(Step(name, time.time()))
        self.tick()

    def end(self, name: str, note: str = "") -> None:
        step = self._last(name)
        step.ended, step.note = time.time(), note
        self.tick()

    def note(self, name: str, note: str) -> None:
        """Notes how far a step is; the next tick shows it."""
        self._last(name).note = note

    def fail(self) -> None:
        """Ends the steps that have not ended, as failed."""
        for step in self.steps:
            if step.ended is None:
                step.ended, step.failed = time.time(), True
        self.tick()

    def tick(self) -> None:
        self._on_change(self)

    def _last(self, name: str) -> Step:
        return next(step for step in reversed(self.steps) if step.name == name)
