"""The contract: an MLflow model signature, compiled once, that every request is held to.

A request takes one of two ways. `Signature.check` first looks whether it is *surely valid*: named scalar columns, all
there, each value of exactly the JSON type that the column asks for. That costs microseconds, and nearly all traffic
is of that kind. Whatever is not surely valid goes to `verdict`, where MLflow itself decides with pandas, and where
what is wrong gets its name. The first way never refuses and the second never guesses, so both together accept and
feed exactly what MLflow would.

Neither TorchServe nor torch is imported here; MLflow and pandas only when a request needs their verdict.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from signet_torchserve.payload import Format, Payload

Array = np.ndarray[Any, Any]
Columns = Sequence[Sequence[Any]]

# Integers up to this size are doubles exactly, so that int -> double -> float32 rounds once, as int64 -> float32 does.
EXACT_INTEGER = 2**53


@dataclass(frozen=True, slots=True)
class Feed:
    """What the model is called with.

    `inputs` is one array (float32 [rows, columns] for a column signature), or for named tensors a dict of arrays.
    `framed` tells that pyfunc would have fed a data frame, and so would answer in records.
    """

    inputs: Array | dict[str, Array]
    params: dict[str, Any]
    framed: bool

    @property
    def rows(self) -> int:
        """Rows of the request; 1 where its input has no axis for them."""
        inputs = next(iter(self.inputs.values())) if isinstance(self.inputs, dict) else self.inputs
        return len(inputs) if inputs.ndim else 1


@dataclass(frozen=True, slots=True)
class _Scalar:
    """How values of one MLflow type are recognised as surely valid: exact Python types, numpy type."""

    python_types: frozenset[type]
    dtype: str
    limit: float = np.inf
    """Greatest magnitude that is surely valid; NaN and infinity never are."""


_SCALARS = {
    "double": _Scalar(frozenset({float}), "float64", float(np.finfo(np.float64).max)),
    "float": _Scalar(frozenset({float, int}), "float64", float(np.finfo(np.float32).max)),
    "long": _Scalar(frozenset({int}), "int64", EXACT_INTEGER),
    "integer": _Scalar(frozenset({int}), "int64", 2**31 - 1),
    "boolean": _Scalar(frozenset({bool}), "bool"),
}


class Signature:
    """Inputs and params of an MLflow model signature.

    Args:
        document: the `signature` entry of an MLmodel file: `inputs`, `outputs` and `params`, each a JSON text or
            None.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        inputs = json.loads(document["inputs"])
        self.names: list[str] = [spec["name"] for spec in inputs if "name" in spec]
        self.has_params = bool(json.loads(document.get("params") or "[]"))
        self._name_set = frozenset(self.names)
        scalars = [_SCALARS.get(spec["type"]) if isinstance(spec["type"], str) else None for spec in inputs]
        self._scalars: list[_Scalar] | None = None
        # MLflow takes an empty name for none.
        if self.names and all(self.names) and all(scalars) and all(spec.get("required", True) for spec in inputs):
            self._scalars = [scalar for scalar in scalars if scalar]
        self._all_double = all(spec["type"] == "double" for spec in inputs)

    @classmethod
    def load(cls, mlmodel: Path) -> Signature:
        """Signature of the MLmodel file at `mlmodel`.

        Raises:
            KeyError: the model was logged without one.
        """
        return cls(yaml.safe_load(mlmodel.read_text("utf-8"))["signature"])

    def check(self, payload: Payload) -> Feed:
        """What to call the model with for `payload`.

        Raises:
            Refusal: the payload cannot be read in its format, or the signature does not admit it.
        """
        if self._scalars is not None and payload.params is None and not self.has_params:
            inputs = self._surely_valid(payload)
            if inputs is not None:
                return Feed(inputs, {}, framed=True)
        from signet_torchserve.verdict import decide  # noqa: PLC0415 -- pandas and MLflow load only when they are needed

        return decide(self._document["inputs"], self._document.get("outputs"), self._document.get("params"), payload)

    def _surely_valid(self, payload: Payload) -> Array | None:
        """float32 [rows, columns] in the signature's order if nobody could object to the payload, else None."""
        read = _COLUMNS.get(payload.format)
        columns = read(payload.content, self.names, self._name_set) if read else None
        if not columns:
            return None
        scalars = self._scalars or []
        rows = len(columns[0])
        if not rows:
            return None
        for scalar, values in zip(scalars, columns, strict=True):
            if len(values) != rows or not scalar.python_types.issuperset(map(type, values)):
                return None
        return self._fed_doubles(columns) if self._all_double else self._fed(columns)

    def _fed_doubles(self, columns: Columns) -> Array | None:
        doubles: Array = np.array(columns)
        return _float32(doubles.T) if np.isfinite(doubles).all() else None

    def _fed(self, columns: Columns) -> Array | None:
        inputs = np.empty((len(columns[0]), len(columns)), np.float32)
        for index, (scalar, values) in enumerate(zip(self._scalars or [], columns, strict=True)):
            try:
                column = np.array(values, scalar.dtype)
            except OverflowError:
                return None
            if scalar.dtype != "bool" and not np.abs(column).max() <= scalar.limit:
                return None
            with np.errstate(over="ignore"):  # pyfunc feeds a double beyond float32 as infinity too
                inputs[:, index] = column
        return inputs


def _float32(doubles: Array) -> Array:
    with np.errstate(over="ignore"):  # pyfunc feeds a double beyond float32 as infinity too
        return np.ascontiguousarray(doubles, np.float32)


def _columns_of_split(content: Any, names: list[str], name_set: frozenset[str]) -> Columns | None:
    if type(content) is not dict or content.keys() != {"columns", "data"}:
        return None
    columns, rows = content["columns"], content["data"]
    if type(columns) is not list or type(rows) is not list or len(columns) != len(names):
        return None
    if columns != names and (not all(type(name) is str for name in columns) or name_set != set(columns)):
        return None
    width = len(names)
    if not all(type(row) is list and len(row) == width for row in rows):
        return None
    by_column = list(zip(*rows, strict=True))
    if columns == names or not by_column:
        return by_column
    return [by_column[columns.index(name)] for name in names]


def _columns_of_records(content: Any, names: list[str], name_set: frozenset[str]) -> Columns | None:
    if type(content) is not list or not all(type(row) is dict and row.keys() == name_set for row in content):
        return None
    return [[row[name] for row in content] for name in names]


def _columns_of_dict(content: Any, names: list[str], name_set: frozenset[str]) -> Columns | None:
    if type(content) is not dict or content.keys() != name_set:
        return None
    values = [content[name] for name in names]
    kinds = set(map(type, values))
    if kinds == {list}:
        return values
    if kinds == {dict}:
        labels = values[0].keys()
        # pandas puts rows in the order of their labels when the columns' labels differ in order.
        return [list(column.values()) for column in values] if all(list(c) == list(labels) for c in values) else None
    if kinds & {list, dict}:
        return None
    return [[value] for value in values]


_COLUMNS: dict[Format, Callable[[Any, list[str], frozenset[str]], Columns | None]] = {
    Format.SPLIT: _columns_of_split,
    Format.RECORDS: _columns_of_records,
    Format.INSTANCES: _columns_of_records,
    Format.COLUMNS: _columns_of_dict,
    Format.INPUTS: _columns_of_dict,
}
