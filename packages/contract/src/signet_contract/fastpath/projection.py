"""Where the values of a signature's columns stand in a request, in each of the formats.

Only usual forms are known here, which every reader understands alike. An unusual form is left to `enforcement`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol

from signet_contract.bulk import numbers
from signet_contract.bulk.numbers import Numbers
from signet_contract.bulk.tables import Table
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.unchecked_names import are_names

Values = list[Any] | Numbers
"""The values of one column."""


class Placed(NamedTuple):
    """Rows, and where in each the signature's columns stand."""

    rows: Numbers
    places: Sequence[int]


class Projection(Protocol):
    """Finds the values of the signature's columns, in its order."""

    def names(self, decoded: DecodedRequest) -> Iterable[Any]:
        """Names in the request, as far as it has any."""

    def only_row(self, decoded: DecodedRequest) -> Sequence[Any] | None:
        """The values of a request of one row, as most requests are; None for several rows or an unusual form."""

    def columns(self, decoded: DecodedRequest) -> Sequence[Values] | Placed | None:
        """The columns, all lists or all arrays, or the rows themselves; None for an unusual form."""


class Unnamed:
    """Columns known by their order alone."""

    def __init__(self, width: int) -> None:
        self._width = width

    def names(self, decoded: DecodedRequest) -> Iterable[Any]:  # noqa: ARG002 -- whatever they are
        return ()

    def only_row(self, decoded: DecodedRequest) -> Sequence[Any] | None:
        rows = self._rows(decoded)
        is_one = type(rows) is list and len(rows) == 1 and type(rows[0]) is list and len(rows[0]) == self._width
        return rows[0] if is_one else None

    def columns(self, decoded: DecodedRequest) -> Sequence[Values] | Placed | None:
        return _of_rows(self._rows(decoded), range(self._width))

    def _rows(self, decoded: DecodedRequest) -> Any:
        content = decoded.content
        if decoded.format is not Format.SPLIT:
            return content if decoded.format in (Format.INPUTS, Format.INSTANCES) else None
        if type(content) is not dict or not content.keys() <= {"columns", "data"}:
            return None
        columns = content.get("columns", [])
        are_plain = type(columns) is list and len(columns) in (0, self._width) and not are_names(columns)
        return content.get("data") if are_plain else None


class Named:
    """Columns known by their names, whatever order they come in."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._sorted_names = sorted(names)
        self._finders = {
            Format.SPLIT: self._of_split,
            Format.RECORDS: self._of_records,
            Format.INSTANCES: self._of_records,
            Format.COLUMNS: self._of_columns,
            Format.INPUTS: self._of_columns,
            Format.CSV: self._of_records,
        }

    def names(self, decoded: DecodedRequest) -> Iterable[Any]:
        content = decoded.content
        if type(content) is Table:
            return content.names
        if type(content) is list and content and type(content[0]) is dict:
            return content[0]
        if type(content) is not dict:
            return ()
        names = content.get("columns") if decoded.format is Format.SPLIT else content
        return names if type(names) is dict or (type(names) is list and set(map(type, names)) == {str}) else ()

    def only_row(self, decoded: DecodedRequest) -> Sequence[Any] | None:  # noqa: PLR0911 -- each is a form
        content, width = decoded.content, len(self._names)
        try:
            if decoded.format is Format.SPLIT:
                (row,) = content["data"]
                is_plain = content["columns"] == self._names and type(row) is list and len(content) == 2  # noqa: PLR2004 -- columns and data
                return row if is_plain and len(row) == width else None
            if decoded.format is Format.RECORDS or decoded.format is Format.INSTANCES:
                (record,) = content
                is_plain = type(record) is dict and len(record) == width
                return [record[name] for name in self._names] if is_plain else None
            if type(content) is not dict or len(content) != width:
                return None
            row = [content[name] for name in self._names]
            if type(row[0]) is Numbers:
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

    def columns(self, decoded: DecodedRequest) -> Sequence[Values] | Placed | None:
        return self._finders[decoded.format](decoded.content)

    def _of_split(self, content: Any) -> Sequence[Values] | Placed | None:
        if type(content) is not dict or content.keys() != {"columns", "data"}:
            return None
        return _of_rows(content["data"], self._places(content["columns"]))

    def _of_records(self, content: Any) -> Sequence[Values] | Placed | None:
        if type(content) is Table:
            return _of_rows(content.rows, self._places(content.names))
        if type(content) is not list or set(map(type, content)) != {dict}:
            return None
        orders = set(map(tuple, content))
        places = self._places(list(orders.pop()))
        return _transposed(map(dict.values, content), places) if not orders and places else None

    def _places(self, names: Any) -> Sequence[int]:
        """The place of each of the signature's columns among `names`; none unless `names` are these, in any order."""
        if names == self._names:
            return range(len(names))
        if type(names) is not list or len(names) != len(self._names) or set(map(type, names)) != {str}:
            return ()
        if sorted(names) != self._sorted_names:
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
        # pandas puts rows in the order of their labels when the columns' labels differ in order.
        if kinds == {dict}:
            labels = list(values[0])
            return [list(column.values()) for column in values] if all(list(c) == labels for c in values) else None
        if Numbers in kinds:
            return _as_arrays(values)
        if kinds == {list}:
            return values
        return None if kinds & {list, dict, Table} else [[value] for value in values]


class TextsAsNumbers:
    """Another projection, in some of whose columns each text that is plainly a number is read as that number.

    Any other value of these columns becomes an empty text, which no column of numbers takes.

    Args:
        projection: where the values stand.
        places: of the columns of texts.
    """

    def __init__(self, projection: Projection, places: Sequence[int]) -> None:
        self.names = projection.names
        self._projection, self._places = projection, places

    def only_row(self, decoded: DecodedRequest) -> Sequence[Any] | None:
        row = self._projection.only_row(decoded)
        return row and [_number_in(value) if place in self._places else value for place, value in enumerate(row)]

    def columns(self, decoded: DecodedRequest) -> Sequence[Values] | Placed | None:
        columns = self._projection.columns(decoded)
        if isinstance(columns, Placed) or not columns:
            return None
        read: list[Values] = []
        for place, values in enumerate(columns):
            if isinstance(values, Numbers):
                return None
            read.append(list(map(_number_in, values)) if place in self._places else values)
        return read


_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")


def _number_in(value: Any) -> float | str:
    return float(value) if type(value) is str and _PLAIN_NUMBER.fullmatch(value) else ""


def _as_arrays(columns: list[Any]) -> Sequence[Numbers] | None:
    """The columns as arrays, also those that `bulk` left for being short; None if their rows have different labels."""
    try:
        arrays = [column if type(column) is Numbers else numbers.of_values(column) for column in columns]
    except (TypeError, ValueError):
        return None
    labels = {None if column.labels is None else column.labels.tobytes() for column in arrays}
    return arrays if len(labels) == 1 else None


def _of_rows(rows: Any, places: Sequence[int]) -> Sequence[Values] | Placed | None:
    if not places:
        return None
    if type(rows) is Numbers:
        return Placed(rows, places) if rows.labels is None and rows.shape == (len(places),) else None
    if type(rows) is not list or set(map(type, rows)) != {list} or set(map(len, rows)) != {len(places)}:
        return None
    return _transposed(rows, places)


def _transposed(rows: Iterable[Iterable[Any]], places: Sequence[int]) -> list[Values]:
    """Columns of rows that are as long as there are places."""
    values = list(chain.from_iterable(rows))
    return [values[place :: len(places)] for place in places]
