"""The lists of a request, however they were read: as Python's, as a `ChunkedList`, or as `Numbers`.

If a request is no regular table, a stand-in (`Irregular`) tells cheaply whether it is a table at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from signet_contract.bulk import tables, typed_numbers
from signet_contract.bulk.chunked_lists import ChunkedList, MustReadWhole
from signet_contract.bulk.numbers import Numbers
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.enforcement.value_kinds import ABSENT, types_of


def is_compact(content: Any) -> bool:
    """Whether a request's content is in compact form: `Numbers`, a `Table` or `ChunkedList`s stand for its lists."""
    types = set(map(type, [content, *(content.values() if type(content) is dict else ())]))
    return not types.isdisjoint({ChunkedList, Numbers, tables.Table})


def type_name(content: Any) -> str:
    """The name of the Python type that the content has once it is read whole."""
    if is_labelled(content):
        return "dict"
    return "list" if is_compact(content) and type(content) is not dict else type(content).__name__


def is_list(values: Any) -> bool:
    """Whether the values are a list, however they were read; in compact form they may have labels."""
    return type(values) in (list, ChunkedList, Numbers)


def is_labelled(values: Any) -> bool:
    """Whether the values are in compact form, and were a JSON object whose names label them."""
    return values.labels is not None if type(values) is Numbers else type(values) is ChunkedList and values.is_labelled


def is_column(values: Any) -> bool:
    """Whether the values are a list without labels whose first item is no list."""
    if not is_list(values) or is_labelled(values):
        return False
    if type(values) is Numbers:
        return not values.shape
    return type(values.first if type(values) is ChunkedList else next(iter(values), None)) is not list


def chunks(values: Any) -> Iterator[tuple[int, Any]]:
    """The items in chunks, each with the number of its first item; raises `MustReadWhole` if that is not certain."""
    if isinstance(values, Numbers):
        _require_plain_column(values)
        return ((start, chunk) for _, start, chunk in typed_numbers.columns(values, [0]))
    if not isinstance(values, ChunkedList):
        return iter([(0, values)])
    if type(values.first) not in (int, float, bool):
        return values.chunks()
    return ((start + row, typed) for start, chunk in typed_numbers.chunks(values) for row, typed in chunks(chunk))


def _require_plain_column(numbers: Numbers) -> None:
    labels = numbers.labels
    if numbers.shape or (labels is not None and (labels != np.arange(len(labels))).any()):
        raise MustReadWhole


def taken(values: Any, rows: Sequence[int]) -> list[Any]:
    """Some items, by their ascending numbers; raises as `chunks`."""
    if isinstance(values, Numbers):
        return [row[0] for row in typed_numbers.take(values, rows, [0])]
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
    """Add the new names of some records, each with the first row that has it; `start` is the first record's row."""
    if set(map(len, records)) == {len(names)} and have_all(records, names):
        return
    for row, record in enumerate(records, start):
        if not record.keys() <= names.keys():
            names.update({name: row for name in record if name not in names})


def names(records: ChunkedList | tables.Table, most: int) -> list[Any]:
    """The names in the records; once there are more than `most`, no more records are looked at."""
    if isinstance(records, tables.Table):
        return list(records.names)
    found: dict[str, int] = {}
    for start, chunk in records.chunks():
        if set(map(type, chunk)) != {dict}:
            raise MustReadWhole
        add_names(found, start, chunk)
        if len(found) > most:
            break
    return list(found)


def members(records: list[Any], name: str) -> list[Any]:
    """What each of the records has under a name, or `ABSENT`."""
    try:
        return list(map(itemgetter(name), records))
    except KeyError:
        return [record.get(name, ABSENT) for record in records]


class Irregular(Exception):
    """A request in compact form is no regular table, and perhaps no table at all.

    `stand_in` is a small copy of the request. If the request makes no table, the copy makes none for the same reason.
    It is `stand_in_of(content)`, or, if only the rows are odd, one row of each sort.
    """

    def __init__(self, stand_in: Any) -> None:
        self.stand_in = stand_in

    def in_place_of(self, decoded: DecodedRequest) -> DecodedRequest:
        """The stand-in as a request."""
        content, stand_in = decoded.content, self.stand_in
        if isinstance(content, dict) and isinstance(stand_in, list):  # of its rows
            # A plain `index` labels all rows, and is left out. Any other may be what the request is rejected for.
            without_index = {name: part for name, part in content.items() if name != "index"} | {"data": stand_in}
            stand_in = without_index if is_column(content.get("index", [])) else stand_in_of(content)
        # A bare list has the format RECORDS only if all its items are objects: these are not.
        is_bare = decoded.format is Format.RECORDS and not decoded.wrapped
        return replace(decoded, content=stand_in, format=Format.INPUTS if is_bare else decoded.format)


def irregular(rows: list[Any]) -> Irregular:
    """`Irregular` with the first row of each sort as its stand-in, in the order they came."""
    firsts: dict[Any, Any] = {}
    deque(map(firsts.setdefault, _sorts(rows), rows), maxlen=0)
    return Irregular(list(firsts.values()))


def stand_in_of(content: Any) -> Any:
    """The content with Python's lists for those in compact form; the first item of a sort stands for all of its sort.

    Of `[[1.5, 2.5], [3.5, 4.5], "x", [5.5]]` it is `[[1.5, 2.5], [1.5, 2.5], "x", [5.5]]`, with the same list twice. It
    can be read as a table if the content can.
    """
    if type(content) is dict:
        return {name: stand_in_of(values) for name, values in content.items()}
    if type(content) is tables.Table:
        return [dict.fromkeys(content.names, 0.0)] * len(content.rows)
    if type(content) is Numbers:
        found = [np.zeros(content.shape).tolist()] * len(content)
        labels = content.labels
        return found if labels is None else dict(zip(map(str, labels.astype(int).tolist()), found, strict=True))
    if type(content) is not ChunkedList:
        return content
    firsts: dict[Any, Any] = {}
    found = []
    for _, chunk in content.chunks():
        found += map(firsts.setdefault, _sorts(chunk), chunk)
    return dict(zip(map(str, range(len(found))), found, strict=True)) if content.is_labelled else found


def _sorts(items: list[Any]) -> Iterable[Any]:
    """The sort of each item: of a list its length, of an object its names, and of anything else its type."""
    types = types_of(items)
    if types in ([list], [dict]):
        return map(len if types == [list] else tuple, items)
    if {list, dict}.isdisjoint(types):
        return map(type, items)
    return chain.from_iterable(_sorts([item]) for item in items)
