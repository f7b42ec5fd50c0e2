from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array, DataType
from signet_contract import Contract

from testing.oracle import columns_schema

AB = columns_schema(("double", "a"), ("double", "b"))


def contract(
    inputs: Schema = AB,
    outputs: Schema | None = None,
    params: ParamSchema | None = None,
    policy: str = "",
    labels: dict[str, str] | None = None,
) -> Contract:
    signature = {
        "inputs": inputs.to_json(),
        "outputs": outputs.to_json() if outputs else None,
        "params": params.to_json() if params else None,
    }
    return Contract(signature, policy.split(), labels)


def tensor(shape: tuple[int, ...], dtype: str = "float32", name: str | None = None) -> Schema:
    return Schema([TensorSpec(np.dtype(dtype), shape, name)])


def params(*specs: tuple[str, str, Any]) -> ParamSchema:
    return ParamSchema([ParamSpec(*spec) for spec in specs])


BREAKING: list[tuple[Contract, Contract, str]] = [
    (contract(), contract(columns_schema(("double", "a"))), "column 'b' is gone: who sends it would be refused"),
    (contract(columns_schema(("double", "a"))), contract(), "column 'b' is new and is required: who leaves it out"),
    (
        contract(columns_schema(("double", "a"), ("double", "b", False))),
        contract(),
        "column 'b' is required: who leaves it out would be refused",
    ),
    (
        contract(),
        contract(columns_schema(("double", "a"), ("long", "b"))),
        "column 'b' is long instead of double: who sends double may be refused",
    ),
    (
        contract(columns_schema(("integer", "a"))),
        contract(columns_schema(("long", "a"))),
        "column 'a' is long instead of integer: who sends integer may be refused",  # an integer column takes 2.0
    ),
    (
        contract(Schema([ColSpec(Array(DataType.double), "a")])),
        contract(Schema([ColSpec(Array(DataType.long), "a")])),
        "column 'a' is array",
    ),
    (contract(), contract(tensor((-1, 2))), "it takes tensors without names instead of columns by name: every request"),
    (
        contract(),
        contract(columns_schema(("double", None), ("double", None))),
        "it takes columns without names",
    ),
    (
        contract(tensor((-1, 2))),
        contract(tensor((-1, 3))),
        "input 0 has the shape [-1, 3] instead of [-1, 2]: who",
    ),
    (contract(tensor((-1, 2))), contract(tensor((8, 2))), "input 0 has the shape [8, 2] instead of [-1, 2]: who"),
    (contract(tensor((2,))), contract(tensor((2, 1))), "input 0 has the shape [2, 1] instead of [2]: who sends"),
    (
        contract(tensor((-1,), "float64", "x")),
        contract(tensor((-1,), "float32", "x")),
        "input 'x' is float32 instead of float64: who sends float64 may be refused",
    ),
    (contract(tensor((-1,), "bool")), contract(tensor((-1,), "int64")), "input 0 is int64 instead of bool: who sends"),
    (
        contract(params=params(("t", "double", 1.0))),
        contract(),
        "param 't' is gone: who sends it would not be heard",
    ),
    (
        contract(params=params(("t", "double", 1.0))),
        contract(params=params(("t", "long", 1))),
        "param 't' is long instead of double: who sends double may be refused",
    ),
    (contract(labels={"0": "A"}), contract(), "answers are raw outputs instead of labels: who reads them"),
    (contract(), contract(labels={"0": "A"}), "answers are labels instead of raw outputs: who reads them"),
    (contract(labels={"0": "A", "1": "B"}), contract(labels={"0": "A"}), "the labels ['B'] are answered no more"),
    (
        contract(outputs=tensor((-1,))),
        contract(outputs=tensor((-1, 3))),
        "outputs are numbers [-1, 3] instead of numbers [-1]: who reads them may fail",
    ),
    (
        contract(outputs=columns_schema(("long", None))),
        contract(outputs=columns_schema(("string", None))),
        "outputs are string instead of whole numbers: ",
    ),
    (contract(policy="nulls"), contract(), "nulls is not allowed any more: who relies on it would be refused"),
]


@pytest.mark.parametrize(("old", "new", "text"), BREAKING)
def test_breaking_changes(old: Contract, new: Contract, text: str) -> None:
    """What makes a right request wrong, or gives its answer another form, breaks, and is said to whom."""
    first, *_ = new.compare(old)
    assert first.is_breaking
    assert first.text.startswith(text)


COMPATIBLE: list[tuple[Contract, Contract, str]] = [
    (
        contract(columns_schema(("double", "a"))),
        contract(columns_schema(("double", "a"), ("double", "b", False))),
        "column 'b' is new and may be sent",
    ),
    (
        contract(),
        contract(columns_schema(("double", "a"), ("double", "b", False))),
        "column 'b' may be left out",
    ),
    (
        contract(columns_schema(("long", "a"))),
        contract(columns_schema(("float", "a"))),
        "column 'a' is float instead of long: what was right still is",
    ),
    (
        contract(tensor((8, 2))),
        contract(tensor((-1, 2))),
        "input 0 has the shape [-1, 2] instead of [8, 2]: other shapes, too",
    ),
    (
        contract(tensor((-1,), "uint8")),
        contract(tensor((-1,), "int16")),
        "input 0 is int16 instead of uint8: what was right still is",
    ),
    (contract(), contract(params=params(("t", "double", 1.0))), "param 't' is new and may be sent"),
    (
        contract(params=params(("t", "double", 1.0))),
        contract(params=params(("t", "double", 2.0))),
        "param 't' is 2.0 by default, not 1.0",
    ),
    (
        contract(params=params(("t", "integer", 1))),
        contract(params=params(("t", "long", 1))),
        "param 't' is long instead of integer: what was right still is",
    ),
    (
        contract(policy="extra_columns"),
        contract(columns_schema(("double", "a")), policy="extra_columns"),
        "column 'b' is gone: who sends it would be ignored",
    ),
    (contract(labels={"0": "A"}), contract(labels={"0": "A", "1": "B"}), "the labels ['B'] are new"),
    (contract(), contract(policy="nulls"), "nulls is allowed"),
]


@pytest.mark.parametrize(("old", "new", "text"), COMPATIBLE)
def test_compatible_changes(old: Contract, new: Contract, text: str) -> None:
    """What only lets more through is named, and breaks nothing."""
    (change,) = new.compare(old)
    assert not change.is_breaking
    assert change.text == text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (contract(), contract(columns_schema(("double", "b"), ("double", "a")))),
        (contract(outputs=tensor((-1,), "float32")), contract(outputs=tensor((-1,), "float64"))),
        (contract(outputs=tensor((-1,))), contract()),
        (contract(labels={"0": "A", "1": "B"}), contract(labels={"0": "B", "1": "A"})),
    ],
)
def test_no_change(old: Contract, new: Contract) -> None:
    """The order of named columns, the width of numbers in answers and the numbers of labels are nobody's concern."""
    assert new.compare(old) == []


def test_the_breaking_changes_come_first() -> None:
    """Of several changes those that break are told first."""
    found = contract(columns_schema(("double", "a", False)), policy="nulls").compare(contract())
    assert [change.is_breaking for change in found] == [True, False, False]
