"""Requests of a regular form, seen as the tables that pandas would make of them; no data frame is made.

A request in compact form (`list_access`) is looked through chunk by chunk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from mlflow.types import Schema

from signet_contract.bulk import tables
from signet_contract.bulk.chunked_lists import ChunkedList, MustReadWhole
from signet_contract.bulk.numbers import Numbers
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.enforcement import list_access, typed_arrays, value_kinds
from signet_contract.enforcement.value_kinds import ABSENT, Kinds
from signet_contract.model_input import Array

Values = Sequence[Any] | Array
Chunks = Iterator[tuple[int, int, Values]]
"""Place of a column, number of a row, and the values from there on, `ABSENT` where a row has none."""

_CHUNK_ROWS = 1 << 14


@dataclass(frozen=True, slots=True)
class RegularTable:
    """Rows and columns, by their places."""

    names: Sequence[Any]
    rows: Callable[[], int]
    """How many there are; of records that are certainly rejected, how many were looked at."""
    columns: Callable[[Sequence[int]], Chunks]
    """What is in some columns."""
    cut: Callable[[Sequence[int], Sequence[int]], Any]
    """The content with these rows and columns only."""
    is_counted: bool = True
    """Whether the rows can be counted without a look at all of them. If not, the body has more bytes than the table has
    values, so that its size needs no check."""
    rows_are_told_by_all: bool = False
    """Whether it takes all columns to tell how many rows there are, and in which order."""
    is_by_rows: bool = False
    """Whether a chunk has some rows of all columns, so that it may do to look at the first chunks."""
    is_sorted: bool = False
    """Whether the values have been sorted by kind on the way to the names."""
    rows_of_names: Sequence[int] = ()
    """Of records, the first with each name."""


def table(
    schema: Schema, decoded: DecodedRequest, kinds: Mapping[Any, Kinds], most_names: float = math.inf
) -> RegularTable | None:
    """The request as a table; None if its form is none of these.

    Args:
        schema: a column signature.
        decoded: the request.
        kinds: of columns, by name. They are filled as a side effect when the table must be scanned anyway.
        most_names: how many columns it may have and not be rejected.

    Raises:
        MustReadWhole: it has long lists, and its form is not sure to be regular.
        Irregular: a long list holds rows that form no table. To iterate the table's columns can raise this, too.
    """
    content = decoded.content
    if decoded.format is Format.SPLIT:
        found = _of_split(content)
    elif isinstance(content, pd.DataFrame):
        found = _of_frame(content)
    elif isinstance(content, tables.Table):
        found = _of_read_records(content)
    elif list_access.is_list(content) and not list_access.is_labelled(content):
        found = _of_rows(schema, content, kinds, most_names, may_be_column=decoded.format is not Format.RECORDS)
    else:
        is_table = isinstance(content, dict) and decoded.format is not Format.RECORDS
        found = _of_columns(content) if is_table else None
    if found is None and list_access.is_compact(content):
        raise MustReadWhole
    return found


def _of_frame(frame: pd.DataFrame) -> RegularTable:
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


def _of_read_records(records: tables.Table) -> RegularTable | None:
    found, names = _of_lists(records.rows), records.names

    def cut(rows: Sequence[int], places: Sequence[int]) -> list[dict[str, Any]]:
        kept = [names[place] for place in places]
        return [dict(zip(kept, row, strict=True)) for row in typed_arrays.take(records.rows, rows, places)]

    return found and replace(found, names=names, cut=cut)


def _of_split(content: Any) -> RegularTable | None:
    if type(content) is not dict or not {"data"} <= content.keys() <= {"columns", "data", "index"}:
        return None
    rows, names, index = content["data"], content.get("columns"), content.get("index")
    found = _of_lists(rows)
    are_plain = type(names) is list and set(map(type, names)) in ({str}, {int})
    if found is None or not (names is None or are_plain):
        return None
    if names is not None and len(names) != len(found.names):
        if type(rows) is ChunkedList and index is None:
            raise list_access.irregular(next(rows.chunks())[1])
        return None
    if index is not None and (type(index) is not list or type(rows) is not list or len(index) != len(rows)):
        return None

    def cut(rows: Sequence[int], places: Sequence[int]) -> dict[str, Any]:
        parts = {"data": found.cut(rows, places)}
        if names is not None:
            parts["columns"] = [names[place] for place in places]
        if index is not None:
            parts["index"] = [index[row] for row in rows]
        return parts

    return replace(found, names=names or found.names, cut=cut)


def _of_rows(
    schema: Schema, rows: Any, kinds: Mapping[Any, Kinds], most_names: float, *, may_be_column: bool
) -> RegularTable | None:
    types: set[type]
    if isinstance(rows, Numbers):
        types = {list if rows.shape else float}
    else:
        types = {type(rows.first)} if isinstance(rows, ChunkedList) else set(map(type, rows))
    if types == {dict}:
        return _of_records(rows, kinds if schema.has_input_names() else {}, most_names)
    is_one_column = may_be_column and len(schema.inputs) == 1 and schema.has_input_names()
    if is_one_column and dict not in types:
        return _of_values(schema.input_names()[0], rows, {dict})
    return _of_lists(rows) if types & {list, dict} else _of_values(0, rows, {dict, list})


def _of_values(name: Any, values: Any, others: set[type]) -> RegularTable:
    def columns(places: Sequence[int]) -> Chunks:
        for start, chunk in list_access.chunks(values):
            if not others.isdisjoint(map(type, chunk)):
                raise MustReadWhole
            yield from ((place, start, chunk) for place in places)

    is_counted = type(values) is not ChunkedList
    return RegularTable(
        [name], lambda: len(values), columns, lambda rows, _: list_access.taken(values, rows), is_counted
    )


def _of_lists(rows: Any) -> RegularTable | None:
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
    width = len(first)

    def columns(places: Sequence[int]) -> Chunks:
        for start, chunk in list_access.chunks(rows):
            values = list[Values]()
            if set(map(type, chunk)) == {list}:
                with suppress(ValueError):
                    values = list(zip(*chunk, strict=True))
            if len(values) != width:
                raise list_access.irregular([first, *chunk])
            yield from ((place, start, values[place]) for place in places)

    def cut(chosen: Sequence[int], places: Sequence[int]) -> list[list[Any]]:
        return [[row[place] for place in places] for row in list_access.taken(rows, chosen)]

    return RegularTable(range(width), lambda: len(rows), columns, cut, type(rows) is list, is_by_rows=True)


def _of_read_lists(rows: Numbers) -> RegularTable | None:
    if rows.labels is not None or len(rows.shape) != 1:
        return None
    return RegularTable(
        range(len(rows.kinds)),
        lambda: len(rows),
        lambda places: typed_arrays.columns(rows, places),
        lambda chosen, places: typed_arrays.take(rows, chosen, places),
    )


def _of_records(records: Any, kinds: Mapping[Any, Kinds], most_names: float) -> RegularTable:
    names: dict[str, int] = {}  # each with the first row that has it
    looked_at = 0
    for start, chunk in list_access.chunks(records):
        if set(map(type, chunk)) != {dict}:
            raise MustReadWhole
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


def _of_columns(content: dict[str, Any]) -> RegularTable | None:
    names, types = list(content), set(map(type, content.values()))
    if types == {dict}:
        return _of_labelled(content)
    of_rows = [values for values in content.values() if list_access.is_list(values)]
    are_labelled = set(map(list_access.is_labelled, content.values()))
    if (
        dict in types
        or len(are_labelled) != 1
        or (types.isdisjoint({ChunkedList, Numbers}) and len(set(map(len, of_rows))) > 1)
    ):
        return None

    def count() -> int:
        lengths = sorted(set(map(len, of_rows))) or [1]  # values of one row
        if len(lengths) > 1 and are_labelled == {True}:
            raise MustReadWhole
        if len(lengths) > 1:
            some = {name: list_access.first_few(values, lengths) for name, values in content.items()}
            raise list_access.Irregular(some)
        return lengths[0]

    def columns(places: Sequence[int]) -> Chunks:
        for place in places:
            values = content[names[place]]
            chunks = list_access.chunks(values if list_access.is_list(values) else [values] * count())
            yield from ((place, start, chunk) for start, chunk in chunks)

    def cut(rows: Sequence[int], places: Sequence[int]) -> dict[str, Any]:
        some = {names[place]: content[names[place]] for place in places}
        parts = {
            name: list_access.taken(values, rows) if list_access.is_list(values) else values
            for name, values in some.items()
        }
        if are_labelled == {True}:
            return {name: dict(zip(map(str, rows), values, strict=True)) for name, values in parts.items()}
        return parts

    is_counted = ChunkedList not in types or len(of_rows) < len(names)
    return RegularTable(names, count, columns, cut, is_counted, rows_are_told_by_all=True)


def _of_labelled(content: dict[str, dict[str, Any]]) -> RegularTable:
    """Columns whose rows have labels; pandas takes these in the order in which they first appear."""
    names = list(content)
    labels = list(dict.fromkeys(chain.from_iterable(content.values())))

    def columns(places: Sequence[int]) -> Chunks:
        for place in places:
            column = content[names[place]]
            yield place, 0, [column.get(label, ABSENT) for label in labels]

    def cut(rows: Sequence[int], places: Sequence[int]) -> dict[str, dict[str, Any]]:
        kept = [labels[row] for row in rows]
        some = {names[place]: content[names[place]] for place in places}
        return {name: {label: v[label] for label in kept if label in v} for name, v in some.items()}

    return RegularTable(names, lambda: len(labels), columns, cut, rows_are_told_by_all=True)
