"""Numbers like 1e400, which no float64 is: JSON has them, Python reads them as infinity, and no fast parser reads them.

For the parsers they are finite numbers, so great that they are known again among what was read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import orjson

from signet_contract.model_input import Array

_EXPONENT, _PLUS, _ZERO = b"e+0"
_TO_LOWER = 0x20
_STAND_IN = b"280"
_LEAST_DIGIT = 4
"""An exponent of 400 or more, in three digits, makes a number infinite unless its digits are zero.

That and what follows does not hold for numbers of hundreds of digits: who relies on what is read has looked for them
(`json_text.has_many_digits`).
"""
_GREATEST = 1e200
"""A parsed value above this came from the stand-in exponent, so it means infinity."""


def loads(text: bytes) -> Any:
    """Parsed JSON; what stands there for infinity is a finite float.

    Raises:
        ValueError: it is none.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return orjson.loads(_finite(text)[0])


def read(parse: Callable[[bytes], Array], text: bytes) -> Array:
    """What `parse` makes of a text of numbers, which may be infinite; raises as `parse` of a finite one."""
    try:
        return parse(text)
    except (ValueError, msgspec.ValidationError):
        text, count = _finite(text)
        if not count:
            raise
    values = parse(text)
    are_infinite = np.abs(values) > _GREATEST
    if np.count_nonzero(are_infinite) != count:
        raise ValueError("Some of its numbers may be infinite or zero.")
    return np.where(are_infinite, np.copysign(np.inf, values), values)


def _finite(text: bytes) -> tuple[bytes, int]:
    """The text with finite numbers for infinite ones, and how many these are: none if some may be either."""
    found = np.frombuffer(text + b" " * (1 + len(_STAND_IN)), np.uint8).copy()
    places = np.flatnonzero(found | _TO_LOWER == _EXPONENT)
    places += found[places + 1] == _PLUS
    digits = [found[places + place] - _ZERO for place in range(1, 1 + len(_STAND_IN))]  # what is none is above nine
    are_long = np.logical_and.reduce([digit <= 9 for digit in digits])  # noqa: PLR2004 -- as said
    if (digits[0][are_long] < _LEAST_DIGIT).any():
        return text, 0
    places = places[are_long]
    for place, stand_in in enumerate(_STAND_IN, 1):
        found[places + place] = stand_in
    return found.tobytes(), len(places)
