"""Numbers that are not finite: JSON has 1e400, Python reads and writes NaN and Infinity, and no fast parser reads them.

In their place the parsers read finite numbers, so great that they can be told among the values.
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

This and the next do not hold for a number of hundreds of digits. Who relies on the values has looked for such numbers
(`json_text.has_many_digits`).
"""
_GREATEST_FINITE = 1e200
"""A parsed value above this came from a stand-in, so it is not finite."""

_NAN = 1e250
_WORDS = (b"NaN", b" 1.0e250 "), (b"-Infinity", b" -1.0e280 "), (b"Infinity", b" 1.0e280 ")
"""The words, and numbers for them. The blanks keep these apart from what stands beside them: "1NaN" is no number."""


def has_words(text: bytes) -> bool:
    """Whether the text may have one of the words; a finite number, true, false and null have no N and no I."""
    return b"N" in text or b"I" in text


def without_words(text: bytes, instead: bytes) -> bytes:
    """The text with something else instead of each word."""
    if not has_words(text):
        return text
    for word, _ in _WORDS:
        text = text.replace(word, instead)
    return text


def loads(text: bytes) -> Any:
    """Parsed JSON; what stands there for a number that is not finite is a finite float.

    Raises:
        ValueError: it is none.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return orjson.loads(_finite(text)[0])


def read(parse: Callable[[bytes], Array], text: bytes) -> Array:
    """What `parse` makes of a text of numbers, which may not be finite; raises as `parse` of a finite one."""
    try:
        return parse(text)
    except (ValueError, msgspec.DecodeError):
        finite, count, nan_count = _finite(text)
        if not count:
            raise
    values = parse(finite)
    are_stand_ins = np.abs(values) > _GREATEST_FINITE
    are_nan = values == _NAN
    if np.count_nonzero(are_stand_ins) != count or np.count_nonzero(are_nan) != nan_count:
        raise ValueError("Some of its numbers may be infinite or zero.")
    not_finite = np.where(are_nan, np.nan, np.copysign(np.inf, values))
    return np.where(are_stand_ins, not_finite, values)


def _finite(text: bytes) -> tuple[bytes, int, int]:
    """The text with finite numbers in place of the others, how many these are, and how many of them are NaN.

    The counts are 0 if it is not certain of a number whether it is finite.
    """
    found = np.frombuffer(text + b" " * (1 + len(_STAND_IN)), np.uint8).copy()
    places = np.flatnonzero(found | _TO_LOWER == _EXPONENT)
    places += found[places + 1] == _PLUS
    digits = [found[places + place] - _ZERO for place in range(1, 1 + len(_STAND_IN))]  # what is no digit is above nine
    are_long = np.logical_and.reduce([digit <= 9 for digit in digits])  # noqa: PLR2004 -- as said
    if (digits[0][are_long] < _LEAST_DIGIT).any():
        return text, 0, 0
    places = places[are_long]
    for place, stand_in in enumerate(_STAND_IN, 1):
        found[places + place] = stand_in
    text, nan_count, infinity_count = found.tobytes(), 0, 0
    if has_words(text):
        nan_count, infinity_count = text.count(b"NaN"), text.count(b"Infinity")
        for word, number in _WORDS:
            text = text.replace(word, number)
    return text, len(places) + nan_count + infinity_count, nan_count
