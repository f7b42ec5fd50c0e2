"""Column signatures, the fast way: rows that nobody could object to become the model's input in microseconds.

Surely valid are named columns of numbers and booleans, all there and no others, each value of exactly the JSON type
that its column asks for and far from where types end. What is not surely valid is for `verdict` to judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from operator import contains, lt
from typing import Any

import numpy as np

from signet_torchserve.feed import Array
from signet_torchserve.payload import Format, Payload

Values = list[Any] | Array

# Integers up to here are doubles exactly, so that int -> double -> float32 rounds once, as int64 -> float32 does.
_EXACT = 2.0**53

# Python types of a column's surely valid values, and what their magnitude must stay below.
_SCALARS: dict[str, tuple[frozenset[type], float]] = {
    "double": (frozenset({float}), 2.0**63),  # orjson makes a float of an integer from there on
    "float": (frozenset({float, int}), _EXACT),
    "long": (frozenset({int}), _EXACT),
    "integer": (frozenset({int}), 2.0**31),
    "boolean": (frozenset({bool}), 2.0),
}


class Columns:
    """Named columns of an MLflow schema, each a number or a boolean.

    Args:
        specs: the columns as the MLmodel file lists them.
    """

    def __init__(self, specs: list[dict[str, Any]]) -> None:
        self._names = [spec["name"] for spec in specs]
        self._sorted_names = sorted(self._names)
        self._types, limits = zip(*(_SCALARS[spec["type"]] for spec in specs), strict=True)
        self._limits: tuple[float, ...] = limits
        self._readers = {
            Format.SPLIT: self._of_split,
            Format.RECORDS: self._of_records,
            Format.INSTANCES: self._of_records,
            Format.COLUMNS: self._of_columns,
            Format.INPUTS: self._of_columns,
        }

    @staticmethod
    def can_read(specs: list[dict[str, Any]]) -> bool:
        """Whether all columns have names (MLflow takes an empty one for none) and types that this class knows."""
        return bool(specs) and all(
            spec.get("name") and isinstance(spec["type"], str) and spec["type"] in _SCALARS for spec in specs
        )

    def read(self, payload: Payload) -> Array | None:
        """float32 [rows, columns], in the signature's order; None if the payload is not surely valid."""
        row = self._only_row(payload)
        if row is not None:
            is_sure = all(map(contains, self._types, map(type, row))) and all(map(lt, map(abs, row), self._limits))
            return np.array([row], np.float32) if is_sure else None
        reader = self._readers.get(payload.format)
        columns = reader(payload.content) if reader else None
        if not columns or not len(columns[0]):
            return None
        rows = len(columns[0])
        inputs = np.empty((rows, len(columns)))
        for index, (types, values) in enumerate(zip(self._types, columns, strict=True)):
            if len(values) != rows:
                return None
            if isinstance(values, np.ndarray):
                if values.ndim != 1 or float not in types:
                    return None
                inputs[:, index] = values
                continue
            if not types.issuperset(map(type, values)):
                return None
            inputs[:, index] = np.fromiter(values, np.float64, rows)
        return inputs.astype(np.float32) if (np.abs(inputs) < self._limits).all() else None

    def _only_row(self, payload: Payload) -> Sequence[Any] | None:  # noqa: PLR0911 -- each is a form
        """Values, in the signature's order, of a payload of one row in a usual form, as most requests are."""
        content, width = payload.content, len(self._names)
        try:
            if payload.format is Format.SPLIT:
                (row,) = content["data"]
                is_plain = content["columns"] == self._names and type(row) is list and len(content) == 2  # noqa: PLR2004
                return row if is_plain and len(row) == width else None
            if payload.format is Format.RECORDS or payload.format is Format.INSTANCES:
                (record,) = content
                is_plain = type(record) is dict and len(record) == width
                return [record[name] for name in self._names] if is_plain else None
            if type(content) is not dict or len(content) != width:
                return None
            row = [content[name] for name in self._names]
            if type(row[0]) is np.ndarray:
                return None
            if type(row[0]) is list:
                return [value for (value,) in row] if set(map(type, row)) == {list} else None
            if type(row[0]) is dict:
                (label,) = row[0]
                is_plain = set(map(type, row)) == {dict} and set(map(len, row)) == {1}
                return [column[label] for column in row] if is_plain else None
        except (KeyError, TypeError, ValueError):
            return None
        return row

    def _of_split(self, content: Any) -> Sequence[Values] | None:
        if type(content) is not dict or content.keys() != {"columns", "data"}:
            return None
        places, rows = self._places(content["columns"]), content["data"]
        if isinstance(rows, np.ndarray):
            return [rows[:, place] for place in places] if rows.shape[1:] == (len(places),) else None
        if type(rows) is not list or set(map(type, rows)) != {list} or set(map(len, rows)) != {len(places)}:
            return None
        return _cut(rows, places)

    def _of_records(self, content: Any) -> Sequence[Values] | None:
        if type(content) is not list or set(map(type, content)) != {dict}:
            return None
        orders = set(map(tuple, content))
        places = self._places(list(orders.pop()))
        return _cut(map(dict.values, content), places) if not orders and places else None

    def _places(self, names: Any) -> Sequence[int]:
        """Where the signature's columns stand among `names`; nowhere if these are not all of them and no others."""
        if names == self._names:
            return range(len(names))
        if type(names) is not list or set(map(type, names)) != {str} or sorted(names) != self._sorted_names:
            return ()
        return [names.index(name) for name in self._names]

    def _of_columns(self, content: Any) -> Sequence[Values] | None:
        if type(content) is not dict or len(content) != len(self._names):
            return None
        try:
            values = [content[name] for name in self._names]
        except KeyError:
            return None
        kinds = set(map(type, values))
        if kinds <= {list, np.ndarray}:
            return values
        if kinds == {dict}:
            labels = list(values[0])
            # pandas puts rows in the order of their labels when the columns' labels differ in order.
            return [list(column.values()) for column in values] if all(list(c) == labels for c in values) else None
        return None if kinds & {list, dict} else [[value] for value in values]


def _cut(rows: Iterable[Iterable[Any]], places: Sequence[int]) -> list[Values]:
    """Columns of rows that are as long as there are places."""
    values = list(chain.from_iterable(rows))
    return [values[place :: len(places)] for place in places]
