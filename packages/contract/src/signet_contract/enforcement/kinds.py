"""Values sorted by kind: all of one kind, in a column, are right or wrong alike.

Kinds are as fine as anything that pandas or MLflow looks at: the type, where a number lies among the limits of types,
whether it is whole, what a text can be read as. There are a few in a column, however many values it has.
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from mlflow.types import DataType

from signet_contract.model_input import Array

# From here on a number rounds to infinity in float32.
BEYOND_FLOAT32 = 2.0**128 - 2.0**103

# Where the types of whole numbers end, and between which MLflow takes them for doubles: 0 and 1, and those that are
# doubles exactly.
_INTEGERS = [
    -(2**1024),
    1 - int(BEYOND_FLOAT32),
    -(2**63),
    -(2**53),
    -(2**31),
    0,
    2,
    2**31,
    2**53 + 1,
    2**63,
    2**64,
    int(BEYOND_FLOAT32),
    2**1024,
]
_INT64S = np.array([limit for limit in _INTEGERS if -(2**63) <= limit < 2**63], np.int64)
_FLOATS = np.array(
    [-np.finfo(float).max, np.nextafter(-BEYOND_FLOAT32, 0), -(2.0**31), 2.0**31, BEYOND_FLOAT32, np.inf]
)
_NAN = 2 * (len(_FLOATS) + 1)
_NAN_WORDS = ("nan", "", "null", "none", "na", "n/a", "<na>")
_NO_NUMBER = _NAN + len(_NAN_WORDS)

_READ_FROM_TEXTS = {DataType.string, DataType.datetime, DataType.binary}

# "+02:00" at the end of a time: a column whose times have several makes another column.
_OFFSET = re.compile(r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)$")
_DATE_LENGTH = len("2020-01-01")


class Absent:
    """Type of what stands for a value that a row does not have."""


ABSENT = Absent()


def of_column(values: Sequence[Any], type_: DataType) -> Iterator[Array]:
    """Rows of each kind of value in a column that is to be of `type_`, ascending."""
    types = list(dict.fromkeys(map(type, values)))
    are_texts_read = type_ in _READ_FROM_TEXTS or (type_ == DataType.double and len(types) > 1)
    numbered = {type_of_some: number for number, type_of_some in enumerate(types)}
    codes = np.fromiter(map(numbered.__getitem__, map(type, values)), np.uint8, len(values)) if len(types) > 1 else None
    for type_of_some, number in numbered.items():
        rows = np.arange(len(values)) if codes is None else np.flatnonzero(codes == number)
        some = values if codes is None else [values[row] for row in rows.tolist()]
        finer = None
        if type_of_some is int:
            finer = _integers(some)
        elif type_of_some is float:
            finer = _floats(np.fromiter(some, np.float64, len(some)))
        elif type_of_some is str and are_texts_read:
            finer = _texts(some, type_)
        if finer is None or (finer == finer[0]).all():  # which to sort would take longer to find
            yield rows
        else:
            yield from (rows[finer == code] for code in np.unique(finer))


def _integers(values: Sequence[int]) -> Array:
    try:
        return np.searchsorted(_INT64S, np.fromiter(values, np.int64, len(values)), "right")
    except OverflowError:
        return np.fromiter(map(partial(bisect_right, _INTEGERS), values), np.int64, len(values))


def _floats(values: Array) -> Array:
    codes: Array = 2 * np.searchsorted(_FLOATS, values, "right") + (values == np.floor(values))
    codes[np.isnan(values)] = _NAN
    return codes


def _texts(values: Sequence[str], type_: DataType) -> Array:
    texts = list(dict.fromkeys(values))
    if type_ == DataType.datetime:
        codes = _dates(texts)
    elif type_ == DataType.binary:
        codes = list(map(_is_base64, texts))
    else:
        codes = _numbers(texts)
    by_text = dict(zip(texts, codes, strict=True))
    return np.fromiter(map(by_text.__getitem__, values), np.int64, len(values))


def _numbers(texts: list[str]) -> list[int]:
    numbers = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(np.float64)
    codes: list[int] = _floats(numbers).tolist()
    for row in np.flatnonzero(np.isnan(numbers)).tolist():
        word = texts[row].strip().lower().lstrip("+-")
        codes[row] = _NAN + _NAN_WORDS.index(word) if word in _NAN_WORDS else _NO_NUMBER
    return codes


def _dates(texts: list[str]) -> list[int]:
    dates = pd.to_datetime(pd.Series(texts, dtype=object), format="ISO8601", errors="coerce", utc=True)
    numbered: dict[str, int] = {}
    codes = [-1] * len(texts)
    for row in np.flatnonzero(dates.notna()).tolist():
        found = _OFFSET.search(texts[row], _DATE_LENGTH)
        codes[row] = numbered.setdefault(found[0] if found else "", len(numbered))
    return codes


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        return False
    return True
