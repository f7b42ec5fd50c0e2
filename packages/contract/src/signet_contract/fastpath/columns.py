"""The fast path of column signatures: rows that are plainly right become the model's input in microseconds.

Rows are plainly right if they have every required column and no column beside the signature's, and if each value has a
JSON type that its column asks for and is far from where types end. A column of texts is plainly right if its texts are
plainly numbers. Any other request is undecided, and left to `enforcement`.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from operator import contains, lt
from types import NoneType
from typing import Any

import numpy as np

from signet_contract.bulk.numbers import Numbers
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.fastpath.projection import Named, Placed, Projection, TextsAsNumbers, Unnamed
from signet_contract.model_input import EXACT, Array

_MAX_NARROWED = 64  # sets of absent columns that are remembered

Bounds = tuple[float, float]
"""What values lie strictly between."""

_ZEROS_AND_ONES = (-1.0, 2.0)  # the integers between


@dataclass(frozen=True, slots=True)
class _Type:
    """What a column's plainly right values are."""

    kinds: frozenset[type]
    """Their Python types."""
    limit: float
    """What their magnitudes stay below."""
    wants_float: bool = False
    """Whether one of them must be a float. MLflow takes a double column of integers only if all are 0 or 1."""

    def or_null(self) -> _Type:
        """This type for an optional column. In a column with nulls pandas retypes integers and booleans, not floats."""
        return _Type(self.kinds | {NoneType}, self.limit, self.wants_float) if float in self.kinds else self

    def bounds_for(self, found: AbstractSet[type]) -> Bounds | None:
        """What values of the types `found` must lie between; None if that is undecided."""
        # Nulls beside integers alone are undecided: pandas would make floats of these.
        are_nulls_plain = NoneType not in found or float in found
        if not (found <= self.kinds and are_nulls_plain):
            return None
        if self.wants_float and float not in found:
            return _ZEROS_AND_ONES
        limit = min(self.limit, EXACT) if int in found else self.limit
        return -limit, limit


_NUMBER = _Type(frozenset({float, int}), EXACT)
_TYPES = {
    "double": _Type(frozenset({float, int}), 2.0**63, wants_float=True),  # orjson makes floats of integers beyond
    "float": _NUMBER,
    "long": _Type(frozenset({int}), EXACT),
    "integer": _Type(frozenset({int}), 2.0**31),
    "boolean": _Type(frozenset({bool}), 2.0),
    "string": _Type(frozenset({float}), EXACT),  # as `TextsAsNumbers` reads them
}


class Columns:
    """Columns of an MLflow schema, each a number, a boolean or a text.

    Args:
        specs: the columns as the MLmodel file lists them.
        whole_numbers: whether integers may stand for doubles (see `policy`).
    """

    def __init__(self, specs: list[dict[str, Any]], *, whole_numbers: bool = False) -> None:
        self._specs = specs
        self._whole_numbers = whole_numbers
        names = [spec["name"] for spec in specs if spec.get("name") is not None]
        self._projection: Projection = Named(names) if names else Unnamed(len(specs))
        if texts := [place for place, spec in enumerate(specs) if spec["type"] == "string"]:
            self._projection = TextsAsNumbers(self._projection, texts)
        self._names = frozenset(names)
        self._optional = frozenset(spec["name"] for spec in specs if names and not spec.get("required", True))
        self._narrowed: dict[frozenset[str], tuple[Columns, list[int]]] = {}
        """For a set of absent columns, what reads the other columns, and the places of these."""
        self._types = [self._type(spec) for spec in specs]
        # CSV is untyped: an integer there is a number.
        self._types_of_csv = [_NUMBER if type_.wants_float else type_ for type_ in self._types]
        # For a request of one row, where each column is one value.
        self._kinds_of_one_row = [
            frozenset({float} if type_.wants_float else type_.kinds - {NoneType}) for type_ in self._types
        ]
        self._limits_of_one_row = [type_.limit for type_ in self._types]

    def _type(self, spec: dict[str, Any]) -> _Type:
        if self._whole_numbers and spec["type"] == "double":
            return _NUMBER
        type_ = _TYPES[spec["type"]]
        return type_.or_null() if spec.get("name") in self._optional else type_

    @staticmethod
    def can_read(specs: list[dict[str, Any]]) -> bool:
        """Whether all columns have names or none has (an empty text is neither), and all types are known here."""
        names = [spec.get("name") for spec in specs]
        types = [spec["type"] for spec in specs]
        are_known = all(isinstance(type_, str) and type_ in _TYPES for type_ in types)
        # MLflow converts columns without names, be they texts or not.
        return are_known and bool(specs) and (all(names) or (set(names) == {None} and "string" not in types))

    def read(self, decoded: DecodedRequest) -> Array | None:
        """float32 [rows, columns of the signature], NaN in those that the request leaves out.

        None if the request is undecided.
        """
        absent = self._names.difference(self._projection.names(decoded)) if self._optional else frozenset()
        if absent:
            may_be_absent = absent <= self._optional and absent != self._names
            return self._read_without(absent, decoded) if may_be_absent else None
        row = self._projection.only_row(decoded)
        if row is not None:
            is_right = all(map(contains, self._kinds_of_one_row, map(type, row)))
            is_right = is_right and all(map(lt, map(abs, row), self._limits_of_one_row))
            return np.array([row], np.float32) if is_right else None
        found = self._projection.columns(decoded)
        if isinstance(found, Placed):  # rows in arrays, with the places of our columns in them
            types = self._types_of_csv if decoded.format is Format.CSV else self._types
            return _of_rows(found, types)
        if not found or not len(found[0]) or len(set(map(len, found))) > 1:
            return None
        return self._of_arrays(found) if isinstance(found[0], Numbers) else self._of_lists(found)

    def _read_without(self, absent: frozenset[str], decoded: DecodedRequest) -> Array | None:
        if absent not in self._narrowed:
            if len(self._narrowed) >= _MAX_NARROWED:
                self._narrowed.clear()
            places = [place for place, spec in enumerate(self._specs) if spec["name"] not in absent]
            narrowed = Columns([self._specs[place] for place in places], whole_numbers=self._whole_numbers)
            self._narrowed[absent] = narrowed, places
        narrowed, places = self._narrowed[absent]
        found = narrowed.read(decoded)
        if found is None:
            return None
        inputs = np.full((len(found), len(self._specs)), np.nan, np.float32)
        inputs[:, places] = found
        return inputs

    def _of_arrays(self, columns: Sequence[Any]) -> Array | None:
        inputs = np.empty((len(columns[0]), len(columns)), np.float32)
        for index, (type_, values) in enumerate(zip(self._types, columns, strict=True)):
            # numpy takes long over columns of width 1.
            blocks = [block[:, 0] for block in values.blocks]
            bounds = type_.bounds_for(values.kinds[0])
            if values.shape or bounds is None or not _fill(inputs[:, index], blocks, *bounds):
                return None
        return inputs

    def _of_lists(self, columns: Sequence[Any]) -> Array | None:
        inputs = np.empty((len(columns[0]), len(columns)))
        bounds = []
        for index, (type_, values) in enumerate(zip(self._types, columns, strict=True)):
            kinds = set(map(type, values))
            between = type_.bounds_for(kinds)
            if between is None:
                return None
            bounds.append(between)
            try:
                inputs[:, index] = values if NoneType in kinds else np.fromiter(values, np.float64, len(values))
            except OverflowError:
                return None
        low, high = zip(*bounds, strict=True)
        is_sure = (inputs > low) & (inputs < high)
        if self._optional:
            is_sure |= np.isnan(inputs) & [NoneType in type_.kinds for type_ in self._types]
        return inputs.astype(np.float32) if is_sure.all() else None


def _of_rows(found: Placed, types: Sequence[_Type]) -> Array | None:
    rows, places = found
    bounds = [type_.bounds_for(rows.kinds[place]) for type_, place in zip(types, places, strict=True)]
    if None in bounds:
        return None
    low, high = np.array(bounds).T
    inputs = np.empty((len(rows), len(places)), np.float32)
    blocks = rows.blocks if places == range(len(places)) else [block[:, places] for block in rows.blocks]
    return inputs if _fill(inputs, blocks, low, high) else None


def _fill(inputs: Array, blocks: Sequence[Array], low: Any, high: Any) -> bool:
    """Write the blocks one below another, and tell whether all their values lie between the bounds."""
    row = 0
    for block in blocks:
        if not ((block > low) & (block < high)).all():
            return False
        inputs[row : row + len(block)] = block
        row += len(block)
    return True
