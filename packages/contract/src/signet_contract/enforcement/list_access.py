"""The lists of a request, in whichever way they were read: as Python's, as a `ChunkedList`, or as `Numbers`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from signet_contract.bulk import tables
from signet_contract.bulk.chunked_lists import ChunkedList, MustReadWhole
from signet_contract.bulk.numbers import Numbers
from signet_contract.enforcement import typed_arrays
from signet_contract.enforcement.value_kinds import ABSENT


def is_compact(content: Any) -> bool:
    """Whether it is in compact form: `Numbers`, a `Table` or `ChunkedList`s stand for its lists."""
    types = set(map(type, [content, *(content.values() if type(content) is dict else ())]))
    return not types.isdisjoint({ChunkedList, Numbers, tables.Table})


def is_list(values: Any) -> bool:
    """Whether it is one."""
    return type(values) in (list, ChunkedList, Numbers)


def is_labelled(values: Any) -> bool:
    """Whether it was a JSON object, whose names label the items."""
    return values.labels is not None if type(values) is Numbers else type(values) is ChunkedList and values.is_labelled


def chunks(values: Any) -> Iterator[tuple[int, Any]]:
    """The items in chunks, each with the number of its first item; raises `MustReadWhole` where they can't be told."""
    if isinstance(values, Numbers):
        _require_plain(values)
        return ((start, chunk) for _, start, chunk in typed_arrays.columns(values, [0]))
    return values.chunks() if isinstance(values, ChunkedList) else iter([(0, values)])


def _require_plain(numbers: Numbers) -> None:
    labels = numbers.labels
    if numbers.shape or (labels is not None and (labels != np.arange(len(labels))).any()):
        raise MustReadWhole


def taken(values: Any, rows: Sequence[int]) -> list[Any]:
    """Some items, by their ascending numbers; raises as `chunks`."""
    if isinstance(values, Numbers):
        return [row[0] for row in typed_arrays.take(values, rows, [0])]
    return values.take(rows) if isinstance(values, ChunkedList) else [values[row] for row in rows]


def have_all(records: list[Any], names: Mapping[str, object]) -> bool:
    """Whether each of the records has all of the names."""
    if not names:
        return True
    try:
        deque(map(itemgetter(*names), records), maxlen=0)
    except KeyError:
        return False
    return True


def add_names(names: dict[str, int], start: int, records: list[dict[str, Any]]) -> None:
    """Add those that some records, of which `start` is the first, have and none before has had."""
    if set(map(len, records)) == {len(names)} and have_all(records, names):
        return
    for row, record in enumerate(records, start):
        if not record.keys() <= names.keys():
            names.update({name: row for name in record if name not in names})


def members(records: list[Any], name: str) -> list[Any]:
    """What each of the records has under a name, or `ABSENT`."""
    try:
        return list(map(itemgetter(name), records))
    except KeyError:
        return [record.get(name, ABSENT) for record in records]


class Irregular(Exception):
    """The rows of a long list have several lengths, or are not all lists, or columns have several lengths.

    `some` is a list with a row of each sort that was found, or an object with a few values of each column.
    """

    def __init__(self, some: list[Any] | dict[str, Any]) -> None:
        self.some = some


def irregular(rows: Iterable[Any]) -> Irregular:
    """Of some rows, the first of each length, and of each type that has none, in the order they came."""
    sorts: dict[Any, Any] = {}
    for row in rows:
        sorts.setdefault(len(row) if type(row) is list else type(row), row)
    return Irregular(list(sorts.values()))


def first_few(values: Any, lengths: Sequence[int]) -> Any:
    """The first values of a column, so few that columns of these lengths still have different ones."""
    if not is_list(values):
        return values
    rank = lengths.index(len(values))
    return taken(values, range(rank)) if rank else []
