from __future__ import annotations

from pathlib import Path
from typing import Any

import models
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.models import Model, ModelSignature, infer_signature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array, DataType, Map, Object, Property
from models import Difference, Formula, rows
from signet_torchserve.archive import builder
from signet_torchserve.errors import NotServable
from signet_torchserve.revision import Revision

from testing.oracle import columns_schema


def tensors(*shapes: tuple[int, ...], names: str = "ab", dtype: Any = "float32") -> Schema:
    return Schema([TensorSpec(np.dtype(dtype), shape, name) for name, shape in zip(names, shapes, strict=False)])


def unnamed(shape: tuple[int, ...], dtype: Any = "float32") -> Schema:
    return Schema([TensorSpec(np.dtype(dtype), shape)])


def build(model: Path, schema: Schema | None = None, params: ParamSchema | None = None) -> None:
    """Build the archive of a saved model, under another signature if one is given."""
    if schema is not None:
        document = Model.load(str(model))
        document.signature = ModelSignature(schema, None, params)
        document.save(str(model / "MLmodel"))
    builder.build(model, "iris", Revision("1"), model.parent / "iris.mar")


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of one input, one whose input may be of any width, and one of two inputs, logged once."""
    folder = tmp_path_factory.mktemp("logged")
    wide = ModelSignature(unnamed((-1, -1)))
    two = ModelSignature(tensors((-1, 2), (-1, 2)))
    return {
        "one": models.save(folder / "one", Formula(lambda x: x), rows(3, 2)),
        "wide": models.save(folder / "wide", Formula(lambda x: x), rows(3, 3), wide),
        "two": models.save(folder / "two", Difference(), (rows(3, 2), rows(3, 2)), two),
    }


PARAMS = ParamSchema([ParamSpec("t", "double", 0.5)])


@pytest.mark.parametrize(
    ("model", "schema", "params", "message"),
    [
        ("two", tensors((-1, 2)), None, "The signature has 1 inputs, but its program takes 2."),
        ("one", tensors((-1, 2), (-1, 2)), None, "The signature has 2 inputs, but its program takes 1."),
        (
            "one",
            columns_schema(("double", "a"), ("double", "b")),
            PARAMS,
            "The signature has the params ['t'], which its program does not take.",
        ),
        (
            "one",
            columns_schema(("double", "a")),
            None,
            "The input of its signature has the shape (-1, 1), but its program takes (-1, 2).",
        ),
        (
            "one",
            columns_schema(("double", "a"), ("double", "b"), ("double", "c", False)),
            None,
            "The input of its signature has the shape (-1, 3), but its program takes (-1, 2).",
        ),
        (
            "one",
            infer_signature(pd.DataFrame([[1.5, 2.5]], columns=[1, 0])).inputs,
            None,
            "The signature names columns by the numbers [1, 0], and JSON names by texts: expected texts",
        ),
        (
            "one",
            unnamed((-1, 2, 2)),
            None,
            "The input of its signature has the shape (-1, 2, 2), but its program takes (-1, 2).",
        ),
        (
            "two",
            tensors((-1, 3), (-1, 2), names="ba"),
            None,
            "The input 'b' of its signature has the shape (-1, 3), but its program takes (-1, 2).",
        ),
        (
            "two",
            tensors((-1, 2), (-1, 2), names="bx"),
            None,
            "The signature names the inputs ['b', 'x'], of which its program takes ['b'] by name: expected all of ",
        ),
        ("two", tensors((-1, 2), (-1, 2), names="xa"), None, "The signature names the inputs ['x', 'a'], of which"),
        *(
            (
                "two",
                tensors((-1, 2), (-1, 2), names=names),
                None,
                f"The signature names the inputs {list(names)}, which would be fed in this order to ['a', 'b']: ",
            )
            for names in ("BA", ["b ", "a "], ["_b", "x"], ["\N{FULLWIDTH LATIN SMALL LETTER B}", "x"])
        ),
        ("one", unnamed((-1, 2), "O"), None, "The signature has a tensor of object, which torch has not: "),
        ("one", unnamed((-1, 2), "bytes"), None, "The signature has a tensor of "),
        *(
            ("one", Schema([ColSpec(type_, "x")]), None, f"Column 'x' of its signature is of type {name}: expected")
            for name, type_ in {
                "array": Array(DataType.double),
                "map": Map(DataType.double),
                "object": Object([Property("p", DataType.double)]),
            }.items()
        ),
    ],
)
def test_inputs_that_no_request_could_fill_are_refused(
    model: str, schema: Schema, params: ParamSchema | None, message: str, logged: dict[str, Path]
) -> None:
    """A signature with other inputs, params, shapes or types than the program takes is refused at deployment."""
    with pytest.raises(NotServable) as caught:
        build(logged[model], schema, params)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("model", "schema"),
    [
        ("one", unnamed((-1, 2))),
        ("one", unnamed((-1, -1))),
        ("one", unnamed((3, 2), "float64")),
        ("one", columns_schema(("double", "a"), ("string", "b"))),
        ("one", columns_schema(("double", "a"), ("double", "b", False))),
        ("wide", columns_schema(("double", "a"), ("double", "b"), ("double", "c", False))),
        ("two", tensors((-1, 2), (-1, 2), names="ba")),
        ("two", tensors((-1, 2), (-1, -1), names="xy")),
    ],
)
def test_inputs_that_a_request_can_fill_are_taken(model: str, schema: Schema, logged: dict[str, Path]) -> None:
    """Free sizes, optional columns (all of which are fed), other names and other dtypes are left to the requests."""
    build(logged[model], schema)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda x: torch.complex(x, x),
            "Output 0 of its program is complex64: expected real numbers that numpy has too.",
        ),
        (lambda x: x.bfloat16(), "Output 0 of its program is bfloat16: expected real numbers that numpy has too."),
        (lambda x: (x, 3), "Output 1 of its program is no tensor: expected tensors, or lists or dicts of them."),
        (lambda x: {"a": x, "b": None}, "Output 1 of its program is no tensor: "),
        (lambda x: [x, x.shape[0]], "Output 1 of its program is no tensor: "),
        (lambda x: {0: x}, "The program holds "),
    ],
)
def test_outputs_that_no_answer_can_hold_are_refused(function: Any, message: str, tmp_path: Path) -> None:
    """Complex numbers, dtypes that numpy lacks, and outputs beside tensors are refused at deployment."""
    model = models.save(tmp_path / "model", Formula(function), rows(3, 2))
    with pytest.raises(NotServable) as caught:
        build(model)
    assert str(caught.value).startswith(message)


def test_outputs_of_any_form_are_taken(tmp_path: Path) -> None:
    """Lists and dicts of tensors of any shape are served."""
    function = Formula(lambda x: {"a": [x, (x > 0).sum()], "b": (x.int(), x.half(), x[..., None])})
    build(models.save(tmp_path / "model", function, rows(3, 2)))
