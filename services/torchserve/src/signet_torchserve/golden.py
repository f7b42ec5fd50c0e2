"""Requests whose answers are known: a version must give them before it goes live, and goes on doing so."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from signet_torchserve.archive_layout import GOLDEN

# Another machine's arithmetic differs in the last digits.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-5


@dataclass(frozen=True, slots=True)
class Golden:
    """A request, as JSON, and what training logged as its answer; None where any prediction will do."""

    request: Any
    response: Any = None

    @classmethod
    def of(cls, unpacked: Path) -> Self | None:
        """That of an unpacked archive; None if it has none."""
        path = unpacked / GOLDEN
        return cls(**json.loads(path.read_text("utf-8"))) if path.exists() else None

    def objection(self, answer: Any) -> str | None:
        """What is wrong with the JSON that a version has answered; None if nothing is."""
        if self.response is None or _is_about(answer, self.response):
            return None
        return f"The golden rows are answered with {answer}: expected {self.response}."


def _is_about(answer: Any, expected: Any) -> bool:
    """Whether two JSON values are equal, but for rounding in their numbers."""
    if isinstance(expected, list):
        return isinstance(answer, list) and len(answer) == len(expected) and all(map(_is_about, answer, expected))
    if isinstance(expected, dict):
        return (
            isinstance(answer, dict)
            and answer.keys() == expected.keys()
            and all(_is_about(answer[name], value) for name, value in expected.items())
        )
    if isinstance(expected, float) and isinstance(answer, (int, float)) and not isinstance(answer, bool):
        return math.isclose(answer, expected, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    return type(answer) is type(expected) and bool(answer == expected)
