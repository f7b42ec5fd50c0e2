"""Numbers that were read into arrays (`bulk.numbers`), with the types that JSON gave them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import simdjson

from signet_contract.bulk.chunked_lists import LEAST_ITEMS, ChunkedList, MustReadWhole
from signet_contract.bulk.numbers import RAISED, Numbers, of_labelled, of_texts
from signet_contract.model_input import EXACT, Array

_BEYOND_INTEGERS = 1e19
"""Integers from here on have so many digits that who asks has looked for them (`json_text.has_many_digits`)."""


def columns(numbers: Numbers, places: Sequence[int]) -> Iterator[tuple[int, int, Array]]:
    """Some numbers of the items, in chunks: place, number of the first item, and float64, int64 or bool values.

    Raises:
        MustReadWhole: some may be integers or floats, or are integers that float64 does not hold.
    """
    start, blocks = 0, numbers.blocks
    if len(numbers) < LEAST_ITEMS * len(blocks):
        blocks = [np.concatenate(blocks)]
    for block in blocks:
        for place in places:
            yield place, start, _typed(block[:, place], numbers.kinds[place])
        start += len(block)


def chunks(rows: ChunkedList) -> Iterator[tuple[int, Any]]:
    """The items in chunks, each with the number of its first item: as `Numbers` if they look like the first item.

    Any other chunk is a list, which takes five times as long; raises as `ChunkedList.chunks`.
    """
    parser, first = simdjson.Parser(), rows.first_text
    item_depth = first.count(b"[", 0, len(first) - len(first.lstrip(b"[ \t\r\n")))

    def numbers(text: bytes, row: int) -> Numbers | None:
        with suppress(MustReadWhole, ValueError, *RAISED):
            if rows.is_labelled:
                members = text.strip()
                found = _unlabelled(of_labelled(parser, members, 0, len(members)), row)
            else:
                found = of_texts(parser, first, [text], item_depth)
            deque(columns(found, range(len(found.kinds))), maxlen=0)  # raises if a type is not certain
            return found
        return None

    return rows.chunks(numbers if rows.is_labelled or numbers(first, 0) else None)


def _unlabelled(numbers: Numbers, row: int) -> Numbers:
    """The same without its labels; raises `MustReadWhole` if these do not count from `row` on."""
    if numbers.labels is None or (numbers.labels != np.arange(row, row + len(numbers))).any():
        raise MustReadWhole
    return replace(numbers, labels=None)


def blocks(numbers: Numbers) -> Iterator[Array]:
    """All numbers, in chunks of float64, int64 or bool [items, numbers of an item]; raises as `columns`."""
    kinds = set(numbers.kinds)
    if len(kinds) > 1:
        raise MustReadWhole
    (of_all,) = kinds
    return (_typed(block, of_all) for block in numbers.blocks)


def take(numbers: Numbers, rows: Sequence[int], places: Sequence[int]) -> list[list[Any]]:
    """Some numbers of some items, as Python's; raises as `columns`."""
    ends = np.cumsum(list(map(len, numbers.blocks)))
    of_rows = zip(rows, np.searchsorted(ends, rows, "right").tolist(), strict=True)
    # `row - ends[block]` is negative: it counts from the end of the block.
    found = np.array([numbers.blocks[block][row - ends[block]] for row, block in of_rows])
    typed = [_typed(found[:, place], numbers.kinds[place]).tolist() for place in places]
    return list(map(list, zip(*typed, strict=True)))


def _typed(values: Array, kinds: frozenset[type]) -> Array:
    if kinds == {bool}:
        return np.not_equal(values, 0)
    if kinds == {int} and (np.abs(values) < EXACT).all():
        return values.astype(np.int64)
    if kinds == {float}:
        return values
    if float in kinds and bool not in kinds:
        may_be_integers = (values == np.floor(values)) & (np.abs(values) < _BEYOND_INTEGERS)
        if not may_be_integers.any():
            return values
    raise MustReadWhole
