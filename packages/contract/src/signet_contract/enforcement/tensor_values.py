"""What matters to a tensor in nested lists: their shape, and the values that its dtype cannot hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, compress
from typing import Any

import numpy as np

from signet_contract.bulk import typed_numbers
from signet_contract.bulk.chunked_lists import ChunkedList, MustReadWhole
from signet_contract.bulk.numbers import Numbers
from signet_contract.enforcement.value_kinds import as_array, types_of
from signet_contract.errors import MAX_VIOLATIONS
from signet_contract.model_input import Array, admits_shape


def flattened(content: Any) -> tuple[list[Any], tuple[int, ...]]:
    """The items of nested lists, and their shape; where the lists are no longer regular, the items are lists."""
    level, shape = [content], []
    while level and type(level[0]) is list and types_of(level) == [list] and len(lengths := set(map(len, level))) == 1:
        shape.append(lengths.pop())
        level = list(chain.from_iterable(level)) if shape[-1] else []
    return level, tuple(shape)


class Ragged(Exception):
    """Nested lists are no regular array; the message says where."""


def require_regular(values: list[Any], shape: tuple[int, ...]) -> None:
    """Raise `Ragged` if some of the items that `flattened` has found are lists."""
    types, depth = types_of(values), len(shape) + 1
    if types == [list]:
        lengths = sorted(set(map(len, values)))
        raise Ragged(f"some lists at depth {depth} have {lengths[0]} items, and others {lengths[-1]}")
    if list in types:
        raise Ragged(f"some items at depth {depth} are lists, and some are not")


def as_typed(values: list[Any], shape: tuple[int, ...]) -> Array:
    """An array of numpy's type for the values; if some are no numbers, one element stands for all of them."""
    if {int, float, bool}.issuperset(map(type, values)):
        return np.array(values).reshape(shape)
    return np.broadcast_to(np.empty((), _dtype(deciding(values))), shape)


def _dtype(values: Sequence[Any]) -> np.dtype[Any]:
    """Numpy's dtype for an array of the values; none is made, as each text in it would be as long as the longest."""
    longest = max((len(value) for value in values if type(value) is str), default=0)
    dtype = np.array(["" if type(value) is str else value for value in values]).dtype
    return np.promote_types(dtype, np.dtype(f"U{longest}")) if dtype.kind == "U" else dtype


def deciding(values: Sequence[Any]) -> list[Any]:
    """A few of the values, by which numpy chooses the same dtype as by all of them."""
    some = dict(zip(map(type, values), values, strict=True))
    if str in some:
        some[str] = max((value for value in values if type(value) is str), key=len)
    integers = [value for value in values if type(value) is int] if int in some else []
    # Numpy's type depends on the sign of large integers: one for each sign, and another for both.
    return [*some.values(), *([min(integers), max(integers)] if integers else [])]


def unfit(dtype: np.dtype[Any], values: list[Any]) -> list[int]:
    """Places of the values that a dtype cannot hold; it may lose what a float rounds away, and nothing else."""
    if _fitting(dtype) is None:
        return []
    unfit_places: list[int] = []
    for type_, places, of_type in _by_type(values):
        unfit_places += [int(places[place]) for place in _unfit_places(dtype, type_, of_type)]
    return sorted(unfit_places)


def unmixed(dtype: np.dtype[Any], values: list[Any]) -> list[Any]:
    """The values with numbers for booleans among numbers, or, for a boolean dtype, booleans for zeros and ones."""
    kinds = set(map(type, values))
    if bool not in kinds or not {int, float} & kinds:
        return values
    if dtype.kind == "b":
        return [bool(value) if value in (0, 1) else value for value in values]
    return [int(value) if isinstance(value, bool) else value for value in values]


def _fitting(dtype: np.dtype[Any]) -> dict[type, Callable[[Any], bool]] | None:
    """For each type of value that a dtype can hold, whether it can hold a value; None if it can hold all."""
    match dtype.kind:
        case "b":
            return {bool: _always}
        case "i" | "u":  # 2.0 is how some clients write 2
            least, greatest = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
            return {
                int: lambda value: least <= value <= greatest,
                float: lambda value: value.is_integer() and least <= value <= greatest,
            }
        case "f" | "c":
            info = np.finfo(dtype)
            beyond = 2**info.maxexp - 2 ** (info.maxexp - info.nmant - 2)  # what rounds to infinity
            return {
                int: lambda value: -beyond < value < beyond,
                float: lambda value: -beyond < value < beyond or not math.isfinite(value),
            }
        case "U" | "S":
            return {str: _always}
    return None


def _always(value: object) -> bool:  # noqa: ARG001 -- whatever it is
    return True


class ChunkedValues:
    """The values of a long list, looked through chunk by chunk.

    Once an item has a wrong value or a wrong shape, nothing in the items that follow can make the list right. They are
    not looked at then, only counted, and the list is rejected as if they were right. But if they are so many that some
    must have another shape, they are looked at until one has.

    Args:
        dtype: the dtype that the signature asks for.
        item_shape: the shape that it asks for of each item, with -1 for any size.
        content: the list.

    Raises:
        Ragged: it is no regular array.
        MustReadWhole: only all values at once can decide.
    """

    def __init__(self, dtype: np.dtype[Any], item_shape: tuple[int, ...], content: ChunkedList | Numbers) -> None:
        _require_chunkable(dtype)
        self.unfit: list[tuple[int, Any]] = []
        """The first values that the dtype cannot hold, each with the number of its row."""
        self.unfit_count = 0
        self.non_finite: list[tuple[int, float]] = []
        """The first values that are infinite or NaN, each with the number of its row."""
        self.non_finite_count = 0
        self._deciding: list[Any] = []
        rows, found_shape = 0, list[int]()
        for values, shape in _chunks(content):
            self._add(dtype, values, rows, shape)
            length, *found_shape = shape
            rows += length
            is_wrong = self.unfit or not admits_shape(item_shape, found_shape)
            if is_wrong and len(content) * math.prod(found_shape) <= content.most_values:
                rows = len(content)
                break
        self.shape = (rows, *found_shape)
        self.dtype = _dtype(self._deciding) if self.unfit else dtype
        """That of the signature; if some values are unfit, numpy's for the values looked at, as JSON typed them."""

    def _add(self, dtype: np.dtype[Any], values: Any, rows: int, shape: tuple[int, ...]) -> None:
        width = math.prod(shape[1:])
        unfit_places: list[int] = []
        non_finite_places: list[int] = []
        # The values at one place of each row are mostly of one type.
        step = width if type(values) is list and width * width < len(values) else 1
        for start in range(step):
            for type_, places, of_type in _by_type(values[start::step] if step > 1 else values):
                if type_ is list:
                    require_regular(values, shape)
                self._deciding = deciding([*self._deciding, *_extremes(type_, of_type)])
                unfit_ = _unfit_places(dtype, type_, of_type)
                self.unfit_count += len(unfit_)
                unfit_places += [start + step * int(places[place]) for place in unfit_[:MAX_VIOLATIONS]]
                if type_ is float and not (is_finite := np.isfinite(of_type)).all():
                    of_all = np.flatnonzero(~is_finite)
                    self.non_finite_count += len(of_all)
                    non_finite_places += [start + step * int(places[place]) for place in of_all[:MAX_VIOLATIONS]]
        for first, found in (self.unfit, unfit_places), (self.non_finite, non_finite_places):
            for place in sorted(found)[: MAX_VIOLATIONS - len(first)]:
                first.append((rows + place // width, values[place]))


def _require_chunkable(dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "fiubU":
        raise MustReadWhole


class ColumnValues:
    """The values of one column of a long list of rows, looked through chunk by chunk."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        _require_chunkable(dtype)
        self.unfit: list[tuple[int, Any]] = []
        """The first values that the dtype cannot hold, each with the number of its row."""
        self.unfit_count = 0
        self._dtype = dtype
        self._firsts: dict[type, int] = {}
        self._integers: list[tuple[int, int]] = []

    @property
    def deciding(self) -> set[int]:
        """Rows by whose values pandas chooses the same type as by all, and the rows of the first unfit values."""
        return {row for _, row in self._integers} | {row for row, _ in self.unfit} | set(self._firsts.values())

    @property
    def are_kept(self) -> bool:
        """Whether pandas certainly leaves all values as they are (it makes NaN of some nulls), and none is a list."""
        types = set(self._firsts)
        may_be_nan = len(types) > 1 and type(None) in types and types.isdisjoint({bool, dict})
        return not may_be_nan and types != {int, float} and list not in types

    def add(self, start: int, values: list[Any]) -> None:
        """Look at some more values, the first of which is in row `start`."""
        unfit_places: list[int] = []
        for type_, places, of_type in _by_type(values):
            self._firsts.setdefault(type_, start + int(places[0]))
            if type_ is int:  # the least and the greatest decide, as in the function `deciding`
                ends = map(of_type.index if type(of_type) is list else of_type.tolist().index, _extremes(int, of_type))
                found = [(values[places[end]], start + int(places[end])) for end in ends]
                self._integers = [min(self._integers + found), max(self._integers + found)]
            unfit_ = _unfit_places(self._dtype, type_, of_type)
            self.unfit_count += len(unfit_)
            unfit_places += [int(places[place]) for place in unfit_[:MAX_VIOLATIONS]]
        for place in sorted(unfit_places)[: MAX_VIOLATIONS - len(self.unfit)]:
            self.unfit.append((start + place, values[place]))


def _chunks(content: ChunkedList | Numbers) -> Iterator[tuple[list[Any] | Array, tuple[int, ...]]]:
    """The flat values of each chunk, and the chunk's shape."""
    if isinstance(content, Numbers):
        if content.labels is not None:
            raise MustReadWhole
        for block in typed_numbers.blocks(content):
            yield block.ravel(), (len(block), *content.shape)
        return
    first, of_first = flattened(content.first)
    are_alike = set(map(type, first)) in ({int}, {float}, {bool})
    for _, chunk in typed_numbers.chunks(content) if are_alike else content.chunks():
        if isinstance(chunk, Numbers):
            yield from _chunks(chunk)
            continue
        values, shape = flattened(chunk)
        if shape[1:] != of_first:
            values, shape = flattened([content.first, *chunk])
        yield values, shape


def _by_type(values: list[Any] | Array) -> Iterator[tuple[type, Sequence[int] | Array, Any]]:
    """Each type of the values, the places of its values, and these; floats and integers up to 64 bits in an array."""
    if isinstance(values, np.ndarray):
        yield type(values[0].item()), range(len(values)), values
        return
    types = {type_: number for number, type_ in enumerate(types_of(values))}
    of_each = np.fromiter(map(types.__getitem__, map(type, values)), np.uint8, len(values)) if len(types) > 1 else None
    for type_, number in types.items():
        chosen = None if of_each is None else of_each == number
        places = range(len(values)) if chosen is None else np.flatnonzero(chosen)
        of_type = values if chosen is None else list(compress(values, chosen.tolist()))
        yield type_, places, _array(type_, of_type)


def _array(type_: type, values: list[Any]) -> list[Any] | Array:
    try:
        return as_array({float: "d", int: "q"}[type_], values)
    except (KeyError, OverflowError):
        return values


def _extremes(type_: type, values: Any) -> list[Any]:
    """The values of one type that decide on numpy's dtype."""
    if type_ is int:
        return list(map(int, [min(values), max(values)] if type(values) is list else [values.min(), values.max()]))
    if type_ is str:
        lengths = list(map(len, values))
        return [values[lengths.index(max(lengths))]]
    return [values[0]]


def _unfit_places(dtype: np.dtype[Any], type_: type, values: Any) -> Sequence[int] | Array:
    fits = (_fitting(dtype) or {}).get(type_)
    if fits is None:
        return range(len(values))
    if fits is _always:
        return ()
    if type(values) is list:
        return [place for place, value in enumerate(values) if not fits(value)]
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        are_fit = (values >= int(info.min)) & (values < int(info.max) + 1) & (values == np.floor(values))
    else:
        with np.errstate(over="ignore"):
            are_fit = np.isfinite(values.astype(dtype)) | ~np.isfinite(values)
    unfit_places: Array = np.flatnonzero(~are_fit)
    return unfit_places
