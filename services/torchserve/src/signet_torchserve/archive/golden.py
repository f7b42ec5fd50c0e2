"""A golden request and its known answer: a version must give it before it goes live, and is asked again and again."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from signet_torchserve.archive.file_names import GOLDEN

# Another machine's arithmetic differs in the last digits.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-5
_SCALE = -1000.0


@dataclass(frozen=True, slots=True)
class Golden:
    """A request, as JSON, and what training logged as its answer; None where any prediction will do."""

    request: Any
    response: Any = None

    @classmethod
    def of(cls, unpacked: Path) -> Self | None:
        """The golden request of an unpacked archive; None if it has none."""
        path = unpacked / GOLDEN
        return cls(**json.loads(path.read_text("utf-8"))) if path.exists() else None

    def mismatch(self, answer: Any) -> str | None:
        """What is wrong with the JSON that a version has answered; None if nothing is."""
        if self.response is None or _is_close(answer, self.response):
            return None
        return f"The golden request is answered with {answer}: expected {self.response}."

    @property
    def neighbour(self) -> Any:
        """The request with its floats far off: beside it, a model that mixes rows answers the golden one otherwise."""
        return _scaled(self.request)


def are_close(answer: Any, other: Any) -> bool:
    """Whether two answers to one request are equal but for rounding: the greater their numbers, the coarser it is."""
    return _is_close(answer, other, _ABSOLUTE * max(1.0, _greatest(other)))


def _is_close(answer: Any, expected: Any, absolute: float = _ABSOLUTE) -> bool:
    """Whether two JSON values are equal, but for rounding in their numbers."""
    if isinstance(expected, list):
        return (
            isinstance(answer, list)
            and len(answer) == len(expected)
            and all(_is_close(one, other, absolute) for one, other in zip(answer, expected, strict=True))
        )
    if isinstance(expected, dict):
        return (
            isinstance(answer, dict)
            and answer.keys() == expected.keys()
            and all(_is_close(answer[name], value, absolute) for name, value in expected.items())
        )
    if isinstance(expected, float) and isinstance(answer, (int, float)) and not isinstance(answer, bool):
        return math.isclose(answer, expected, rel_tol=_RELATIVE, abs_tol=absolute)
    return type(answer) is type(expected) and bool(answer == expected)


def _greatest(document: Any) -> float:
    if isinstance(document, (list, dict)):
        return max(map(_greatest, document.values() if isinstance(document, dict) else document), default=0.0)
    return abs(document) if isinstance(document, float) else 0.0


def _scaled(document: Any) -> Any:
    if isinstance(document, list):
        return [_scaled(value) for value in document]
    if isinstance(document, dict):
        return {name: _scaled(value) for name, value in document.items()}
    return document * _SCALE if isinstance(document, float) else document
