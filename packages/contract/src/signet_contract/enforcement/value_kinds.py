"""Values sorted by kind: all of one kind, in a column, are right or wrong alike.

Kinds are as fine as anything that pandas or MLflow looks at: the type, where a number lies among the limits of types,
whether it is whole, what a text can be read as. There are a few in a column, however many values it has. The values may
come chunk by chunk.
"""

from __future__ import annotations

import base64
import contextlib
import re
from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import countOf
from typing import Any

import numpy as np
import pandas as pd
from mlflow.types import DataType

from signet_contract.errors import Rule
from signet_contract.model_input import EXACT, Array

# From here on a number rounds to infinity in float32.
BEYOND_FLOAT32 = 2.0**128 - 2.0**103

# From here on a whole number rounds to `BEYOND_FLOAT32` as a double.
_BEYOND_AS_DOUBLE = int(BEYOND_FLOAT32) - 2**74

# What separates the kinds of whole numbers: where types end, where doubles stop being exact, and zeros and ones, which
# MLflow takes for doubles.
_INTEGER_LIMITS = [
    *(-(2**1024), 1 - int(BEYOND_FLOAT32), 1 - _BEYOND_AS_DOUBLE, -(2**63), -int(EXACT), -(2**31)),
    *(0, 2, 2**31, int(EXACT) + 1, 2**63, 2**64, _BEYOND_AS_DOUBLE, int(BEYOND_FLOAT32), 2**1024),
]
_BELOW_INT64S = _INTEGER_LIMITS.index(-(2**63))
_INT64_LIMITS = np.array([limit for limit in _INTEGER_LIMITS if -(2**63) <= limit < 2**63], np.int64)
_FLOAT_LIMITS = np.array(
    [-np.finfo(float).max, np.nextafter(-BEYOND_FLOAT32, 0), -(2.0**31), 2.0**31, BEYOND_FLOAT32, np.inf]
)
# Codes of floats and texts, see `Kind`; a float has twice its place among the limits, and one more if it is whole.
_NAN = 2 * (len(_FLOAT_LIMITS) + 1)
_NAN_WORDS = ("nan", "", "null", "none", "na", "n/a", "<na>")
_NO_NUMBER = _NAN + len(_NAN_WORDS)
_NO_BASE64 = _NO_NUMBER + 1
_UNREAD_TEXT = -1
_IN_PLAIN_NUMBERS = frozenset("0123456789+-.eE")

# Such as "+02:00" at the end of a time. pandas makes another column of times with several of them.
_OFFSET = re.compile(r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)$")
_DATE_LENGTH = len("2020-01-01")
_NO_DATE = 1

PYTHON_TYPES: dict[DataType, tuple[type, ...]] = {
    DataType.double: (float, int),
    DataType.float: (float, int),
    DataType.long: (int,),
    DataType.integer: (float, int),
    DataType.boolean: (bool,),
    DataType.string: (str,),
    DataType.binary: (str, bytes),
    DataType.datetime: (str, pd.Timestamp),
}


class Absent:
    """The type of `ABSENT`, which stands for a value that a row does not have."""


ABSENT = Absent()


Kind = tuple[type, int]
"""A Python type, and a code for what else matters of its values."""


def _broken_rule(kind: Kind, type_: DataType) -> Rule | None:
    """The rule that each value of a kind breaks in a required column; None if none, or if other values decide."""
    python_type, code = kind
    if python_type in (Absent, type(None)) or kind == (float, _NAN):
        return "null"
    if python_type is float and code // 2 in (0, len(_FLOAT_LIMITS)):
        return "finite"
    return None if python_type in PYTHON_TYPES[type_] else "type"


def types_of(values: Sequence[Any]) -> list[type]:
    """Python types of the values, in the order they come; a single type, the usual case, is found fast."""
    first = list(map(type, values[:1]))
    is_one = first and countOf(map(type, values), first[0]) == len(values)
    return first if is_one else list(dict.fromkeys(map(type, values)))


def _types_of_each(values: Sequence[Any] | Array) -> tuple[list[type], Array | None]:
    """Python types of the values, and for each value the place of its type among these; None if there is one type."""
    types = [type(values[0].item())] if isinstance(values, np.ndarray) else list(map(type, values[:1]))
    if isinstance(values, np.ndarray) or countOf(map(type, values), *types or [None]) == len(values):
        return types, None
    numbers = defaultdict[type, int]()
    numbers.default_factory = numbers.__len__
    of_each = np.frombuffer(bytearray(map(numbers.__getitem__, map(type, values))), np.uint8)
    return list(numbers), of_each


class Kinds:
    """The kinds of one column's values.

    Args:
        type_: the column's type in the signature.
        most: how many rows of each kind are kept.
        rules: those in force, which no value may break.
        reads_texts: whether texts are read as numbers, too.
    """

    def __init__(
        self, type_: DataType, most: int, rules: frozenset[Rule] = frozenset(), *, reads_texts: bool = False
    ) -> None:
        self._type, self._most, self._rules = type_, most, rules
        self.first: dict[Kind, list[int]] = {}
        """The first rows of each kind."""
        self.counts: dict[Kind, int] = {}
        """How many values there are of each kind."""
        self._reads_texts = type_ in (DataType.string, DataType.datetime, DataType.binary) or reads_texts
        self._offsets: dict[str | None, int] = {None: 0, "no date": _NO_DATE}
        """The code of each offset from UTC; None is for a text that begins as a date does, and is no date."""

    @property
    def must_read_texts(self) -> bool:
        """Whether to start over, `with_texts`, and read texts as numbers.

        They were skipped while the column held only texts, and now it holds other values, too.
        """
        return (str, _UNREAD_TEXT) in self.counts and self._is_mixed()

    def with_texts(self) -> Kinds:
        """Another, without any values yet, that reads texts as numbers."""
        return Kinds(self._type, self._most, self._rules, reads_texts=True)

    @property
    def is_rejected(self) -> bool | None:
        """Whether some of the values are wrong, whatever follows them; None if what follows may make them right."""
        if self._type == DataType.double and {type_ for type_, _ in self.counts} == {int}:
            return None  # beside others, whole numbers are doubles
        return any(_broken_rule(kind, self._type) in self._rules for kind in self.counts)

    def _is_mixed(self) -> bool:
        return any(type_ is not str for type_, _ in self.counts)

    def add(self, start: int, values: Sequence[Any] | Array) -> None:
        """Sort some more values, the first of which is in row `start`; an array is of float64, int64 or bool."""
        for kind, rows, count in self._sorted(values):
            self._add(kind, start, rows, count)

    def add_absent(self, start: int, count: int) -> None:
        """Count some rows from `start` on that have no value."""
        self._add((Absent, 0), start, range(min(count, self._most)), count)

    def _add(self, kind: Kind, start: int, rows: Sequence[int] | Array, count: int) -> None:
        first = self.first.setdefault(kind, [])
        first += [start + int(row) for row in rows[: self._most - len(first)]]
        self.counts[kind] = self.counts.get(kind, 0) + count

    def of(self, row: int) -> Kind | None:
        """The kind of the value in one of the first rows of its kind; None for another row."""
        return next((kind for kind, rows in self.first.items() if row in rows), None)

    def _sorted(self, values: Sequence[Any] | Array) -> Iterator[tuple[Kind, Sequence[int] | Array, int]]:
        """Each kind of the values, the first rows of it among them, and how many there are."""
        types, of_each = _types_of_each(values)
        # A double column of texts alone is wrong whatever they say. Among other values they may be read as numbers.
        self._reads_texts |= self._type == DataType.double and str in types and (len(types) > 1 or self._is_mixed())
        for number, type_ in enumerate(types):
            rows = range(len(values)) if of_each is None else np.flatnonzero(of_each == number)
            codes = self._codes(type_, values, rows)
            if isinstance(codes, int):
                yield (type_, codes), rows[: self._most], len(rows)
                continue
            for code, count in enumerate(np.bincount(codes).tolist()):
                if count:
                    places = np.flatnonzero(codes == code)[: self._most].tolist()
                    yield (type_, code), [rows[place] for place in places], count

    def _codes(self, type_: type, values: Any, rows: Any) -> Array | int:
        """The code of each value of one Python type, which stand in `rows`; one int if all have the same code."""
        may_be_nan = type_ in (list, dict) and self._type == DataType.double  # MLflow makes NaN of empty ones
        if type_ not in (int, float, str) and not may_be_nan:
            return 0
        if type_ is str and not self._reads_texts:
            return _UNREAD_TEXT
        if len(rows) < len(values):
            values = [values[row] for row in rows.tolist()]
        if may_be_nan:
            if all(values) or not any(values):
                return int(bool(values[0]))
            return np.fromiter(map(bool, values), np.int64, len(values))
        if type_ is str:
            return self._texts(values)
        return _integers(values) if type_ is int else _floats(as_array("d", values))

    def _texts(self, values: Sequence[str]) -> Array | int:
        if self._type == DataType.datetime:
            return _of_texts(values, self._dates)
        if self._type == DataType.binary:
            return _of_texts(values, lambda texts: list(map(_bytes, texts)))
        # What is said of a column with a text that is no number does not depend on its other texts.
        return _NO_NUMBER if (str, _NO_NUMBER) in self.counts else _numbers(values)

    def _dates(self, texts: list[str]) -> list[int]:
        dates = pd.to_datetime(pd.Series(texts, dtype=object), format="ISO8601", errors="coerce", utc=True)
        are_words = np.array([not is_date_like(text) for text in texts])
        codes: list[int] = (_NO_DATE * are_words).tolist()
        for row in np.flatnonzero(dates.notna() & ~are_words).tolist():
            found = _OFFSET.search(texts[row], _DATE_LENGTH)
            codes[row] = self._offsets.setdefault(found[0] if found else "", len(self._offsets))
        return codes


def are_rejected(columns: Iterable[Kinds]) -> bool:
    """Whether a table with these values is wrong, for the same reason as if it ended here."""
    found = {kinds.is_rejected for kinds in columns}
    return True in found and None not in found


def as_array(code: str, values: Sequence[float] | Array) -> Array:
    """The values as float64 ("d") or int64 ("q"); an `array` takes half as long as numpy for Python's numbers."""
    return values if isinstance(values, np.ndarray) else np.frombuffer(array(code, values), code)


def _integers(values: Sequence[int] | Array) -> Array | int:
    try:
        found = as_array("q", values)
    except OverflowError:
        return np.fromiter(map(partial(bisect_right, _INTEGER_LIMITS), values), np.int64, len(values))
    least, greatest = np.searchsorted(_INT64_LIMITS, [found.min(), found.max()], "right").tolist()
    if least == greatest:
        return int(least + _BELOW_INT64S)
    return np.searchsorted(_INT64_LIMITS, found, "right") + _BELOW_INT64S


def _floats(values: Array) -> Array:
    least, greatest = values.min(), values.max()  # both are NaN if any value is
    are_nan = np.isnan(values)
    if are_nan.all():  # as an empty column of CSV
        return np.full(len(values), _NAN)
    of_all = np.searchsorted(_FLOAT_LIMITS, [least, greatest], "right").tolist()
    are_apart = np.isnan(least) or of_all[0] != of_all[1]
    limits = np.searchsorted(_FLOAT_LIMITS, values, "right") if are_apart else of_all[0]
    codes: Array = 2 * limits + (values == np.floor(values))
    codes[are_nan] = _NAN
    return codes


def _of_texts(values: Sequence[str], codes_of: Callable[[list[str]], list[int]]) -> Array:
    texts = list(dict.fromkeys(values))
    by_text = dict(zip(texts, codes_of(texts), strict=True))
    return np.fromiter(map(by_text.__getitem__, values), np.int64, len(values))


def _numbers(values: Sequence[str]) -> Array:
    if _IN_PLAIN_NUMBERS.issuperset("".join(values)):
        with contextlib.suppress(ValueError):
            return _floats(np.fromiter(map(float, values), np.float64, len(values)))
    return _of_texts(values, _as_pandas_reads)


def _as_pandas_reads(texts: list[str]) -> list[int]:
    numbers = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(np.float64)
    codes: list[int] = _floats(numbers).tolist()
    for row in np.flatnonzero(np.isnan(numbers)).tolist():
        word = texts[row].strip().lower().lstrip("+-")
        codes[row] = _NAN + _NAN_WORDS.index(word) if word in _NAN_WORDS else _NO_NUMBER
    return codes


def is_date_like(text: str) -> bool:
    """Whether a text begins as a date does; the words that pandas takes for dates, such as "now", do not."""
    return text.lstrip().lstrip("+-")[:1].isdecimal()


def _bytes(text: str) -> int:
    """The code of a base64 text; its bytes may spell a number, which the model then gets."""
    try:
        found = base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        return _NO_BASE64
    try:
        return int(_floats(np.array([float(found)]))[0])
    except ValueError:
        return _NO_NUMBER
