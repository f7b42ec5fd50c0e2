"""The regular forms of a request, each seen as the table that pandas would make of it; no data frame is made.

A request in compact form (`list_access`) is looked through chunk by chunk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import Any

import numpy as np
import pandas as pd

from signet_contract.bulk import tables, typed_numbers
from signet_contract.bulk.chunked_lists import ChunkedList
from signet_contract.bulk.numbers import Numbers
from signet_contract.enforcement import list_access, value_kinds
from signet_contract.enforcement.list_access import Irregular
from signet_contract.enforcement.value_kinds import ABSENT, Kinds
from signet_contract.model_input import Array

Values = Sequence[Any] | Array
Chunks = Iterator[tuple[int, int, Values]]
"""Place of a column, number of a row, and the values from there on, `ABSENT` where a row has none."""

_CHUNK_ROWS = 1 << 14


@dataclass(frozen=True, slots=True)
class RegularTable:
    """Rows and columns, by their places.

    An example: `{"a": [1.5, 2.5], "b": ["x", "y"]}` has the names "a" and "b", and two rows. Its column "b" is at
    place 1; `columns([1])` yields `(1, 0, ["x", "y"])`, and `cut([0], [1])` is `{"b": ["x"]}`. Each other form answers
    the same questions. The flags say what can't be asked of it as cheaply, or in which order it answers.
    """

    names: Sequence[Any]
    rows: Callable[[], int]
    """How many there are; of records that are certainly rejected, how many were looked at."""
    columns: Callable[[Sequence[int]], Chunks]
    """What is in the columns at some places."""
    cut: Callable[[Sequence[int], Sequence[int]], Any]
    """The content with these rows and columns only, in the form in which it came."""
    knows_its_length: bool = True
    """Whether the rows can be counted without a look at all of them, as in a Python list and not in a `ChunkedList`. If
    they can't, the body has more bytes than the table has values, so that its size needs no check."""
    rows_depend_on_all: bool = False
    """Whether number and order of the rows depend on all columns: `{"a": {"x": 1}, "b": {"y": 2}}` has two rows, and
    would have one without "b"."""
    is_by_rows: bool = False
    """Whether `columns` yields the first rows of all columns before the next rows of any, as of a list of rows. It can
    stop after wrong rows. `{"a": […], "b": […]}` is read one column after the other."""
    is_sorted: bool = False
    """Whether the values have been sorted by kind already, as of records, which are looked through for their names."""
    rows_of_names: Sequence[int] = ()
    """Of records, the first row with each name."""

    def require_regular(self) -> None:
        """Look at all rows; raises `Irregular` if one differs from the first in form."""
        deque(self.columns(()), maxlen=0)
        self.rows()


def of_frame(frame: pd.DataFrame) -> RegularTable:
    def columns(places: Sequence[int]) -> Chunks:
        for place in places:
            values = frame.iloc[:, place].to_numpy()
            for start in range(0, len(values), _CHUNK_ROWS):
                chunk = values[start : start + _CHUNK_ROWS]
                yield place, start, chunk if chunk.dtype in (np.float64, np.int64) else chunk.tolist()

    return RegularTable(
        list(frame.columns),
        lambda: len(frame),
        columns,
        lambda rows, places: frame.iloc[list(rows), list(places)].reset_index(drop=True),
    )


def of_read_records(records: tables.Table) -> RegularTable | None:
    found, names = of_lists(records.rows), records.names

    def cut(rows: Sequence[int], places: Sequence[int]) -> list[dict[str, Any]]:
        kept = [names[place] for place in places]
        return [dict(zip(kept, row, strict=True)) for row in typed_numbers.take(records.rows, rows, places)]

    return found and replace(found, names=names, cut=cut)


def of_values(name: Any, values: Any, odd_types: set[type]) -> RegularTable:
    def columns(places: Sequence[int]) -> Chunks:
        for start, chunk in list_access.chunks(values):
            if not odd_types.isdisjoint(map(type, chunk)):
                raise list_access.irregular([values.first, *chunk])
            yield from ((place, start, chunk) for place in places)

    knows_its_length = type(values) is not ChunkedList
    return RegularTable(
        [name], lambda: len(values), columns, lambda rows, _: list_access.taken(values, rows), knows_its_length
    )


def of_lists(rows: Any) -> RegularTable | None:
    if type(rows) is Numbers:
        return _of_read_lists(rows)
    if type(rows) is ChunkedList:
        first = None if rows.is_labelled else rows.first
    elif type(rows) is not list or set(map(type, rows)) != {list} or len(set(map(len, rows))) != 1:
        return None
    else:
        first = rows[0]
    if type(first) is not list:
        return None

    def columns(places: Sequence[int]) -> Chunks:
        for start, chunk in typed_numbers.chunks(rows) if type(rows) is ChunkedList else [(0, rows)]:
            if type(chunk) is Numbers:
                yield from ((place, start + row, values) for place, row, values in typed_numbers.columns(chunk, places))
            else:
                values = _transposed(chunk, first)
                yield from ((place, start, values[place]) for place in places)

    def cut(chosen: Sequence[int], places: Sequence[int]) -> list[list[Any]]:
        return [[row[place] for place in places] for row in list_access.taken(rows, chosen)]

    return RegularTable(range(len(first)), lambda: len(rows), columns, cut, type(rows) is list, is_by_rows=True)


def _transposed(rows: list[Any], first: list[Any]) -> list[tuple[Any, ...]]:
    """The columns of some rows; raises `Irregular` if they are not all lists as long as the first row of all."""
    with suppress(ValueError):
        if value_kinds.types_of(rows) == [list] and len(rows[0]) == len(first):
            return list(zip(*rows, strict=True))
    raise list_access.irregular([first, *rows])


def _of_read_lists(rows: Numbers) -> RegularTable | None:
    if rows.labels is not None or len(rows.shape) != 1:
        return None
    return RegularTable(
        range(len(rows.kinds)),
        lambda: len(rows),
        lambda places: typed_numbers.columns(rows, places),
        lambda chosen, places: typed_numbers.take(rows, chosen, places),
    )


def of_records(records: Any, kinds: Mapping[Any, Kinds], most_names: float) -> RegularTable:
    names: dict[str, int] = {}  # each with the first row that has it
    looked_at = 0
    for start, chunk in list_access.chunks(records):
        if set(map(type, chunk)) != {dict}:
            raise list_access.irregular([records.first, *chunk])
        list_access.add_names(names, start, chunk)
        for name, of_column in kinds.items():
            if name in names:
                of_column.add(start, list_access.members(chunk, name))
            else:
                of_column.add_absent(start, len(chunk))
        looked_at = start + len(chunk)
        if len(names) > most_names or value_kinds.are_rejected(kinds.values()):
            break
    of_all = list(names)

    def columns(places: Sequence[int]) -> Chunks:
        for start, chunk in list_access.chunks(records):
            yield from ((place, start, list_access.members(chunk, of_all[place])) for place in places)

    def cut(rows: Sequence[int], places: Sequence[int]) -> list[dict[str, Any]]:
        taken, kept = list_access.taken(records, rows), [of_all[place] for place in places]
        if len(kept) == len(of_all):
            return taken
        return [{name: record[name] for name in kept if name in record} for record in taken]

    return RegularTable(
        of_all, lambda: looked_at, columns, cut, is_sorted=bool(kinds), rows_of_names=list(names.values())
    )


def of_columns(content: dict[str, Any]) -> RegularTable | None:
    types, are_labelled = set(map(type, content.values())), set(map(list_access.is_labelled, content.values()))
    if types == {dict}:
        return _of_labelled(content)
    if are_labelled == {True}:
        return _of_counting_labels(content)
    if dict in types or are_labelled != {False}:
        return None
    lists = [values for values in content.values() if type(values) is list]
    if types.isdisjoint({ChunkedList, Numbers}) and len(set(map(len, lists))) > 1:  # to count the others takes long
        return None
    return _of_equally_long(content)


def _of_equally_long(content: dict[str, Any]) -> RegularTable:
    """Columns without labels; a single value stands for a column of equal values."""
    names = list(content)
    lists = [values for values in content.values() if list_access.is_list(values)]

    def count() -> int:
        lengths = set(map(len, lists)) or {1}
        if len(lengths) > 1:
            raise Irregular(list_access.stand_in_of(content))
        return lengths.pop()

    def columns(places: Sequence[int]) -> Chunks:
        for place in places:
            values = content[names[place]]
            chunks = list_access.chunks(values if list_access.is_list(values) else [values] * count())
            yield from ((place, start, chunk) for start, chunk in chunks)

    def cut(rows: Sequence[int], places: Sequence[int]) -> dict[str, Any]:
        some = {names[place]: content[names[place]] for place in places}
        return {
            name: list_access.taken(values, rows) if list_access.is_list(values) else values
            for name, values in some.items()
        }

    knows_its_length = ChunkedList not in map(type, lists) or len(lists) < len(names)
    return RegularTable(names, count, columns, cut, knows_its_length, rows_depend_on_all=True)


def _of_counting_labels(content: dict[str, Any]) -> RegularTable:
    """Columns with the labels "0", "1" and so on; a shorter column lacks the last rows."""
    names = list(content)

    def count() -> int:
        return max(map(len, content.values()))

    def columns(places: Sequence[int]) -> Chunks:
        for place in places:
            for start, chunk in list_access.chunks(content[names[place]]):
                yield place, start, chunk
        for place in places:  # now that the items have been counted
            length = len(content[names[place]])
            if absent := count() - length:
                yield place, length, [ABSENT] * absent

    def cut(rows: Sequence[int], places: Sequence[int]) -> dict[str, Any]:
        parts = {}
        for place in places:
            values = content[names[place]]
            own = [row for row in rows if row < len(values)]
            parts[names[place]] = dict(zip(map(str, own), list_access.taken(values, own), strict=True))
        return parts

    knows_its_length = ChunkedList not in map(type, content.values())
    return RegularTable(names, count, columns, cut, knows_its_length, rows_depend_on_all=True)


def _of_labelled(content: dict[str, dict[str, Any]]) -> RegularTable:
    """Columns whose rows have labels; pandas takes these in the order in which they first appear."""
    names = list(content)
    labels = list(dict.fromkeys(chain.from_iterable(content.values())))

    def columns(places: Sequence[int]) -> Chunks:
        for start in range(0, len(labels), _CHUNK_ROWS):
            chunk = labels[start : start + _CHUNK_ROWS]
            for place in places:
                yield place, start, list(map(content[names[place]].get, chunk, repeat(ABSENT)))

    def cut(rows: Sequence[int], places: Sequence[int]) -> dict[str, dict[str, Any]]:
        kept = [labels[row] for row in rows]
        some = {names[place]: content[names[place]] for place in places}
        return {name: {label: v[label] for label in kept if label in v} for name, v in some.items()}

    return RegularTable(names, lambda: len(labels), columns, cut, rows_depend_on_all=True, is_by_rows=True)
