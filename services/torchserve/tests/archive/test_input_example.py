from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec
from signet_torchserve.archive import input_example
from signet_torchserve.errors import NotServable

from testing.oracle import columns_schema, signature_document

INFO = {"saved_input_example_info": {"serving_input_path": "serving_input_example.json"}}


def request(folder: Path, schema: Schema, document: Any, params: Any = None, allow: str = "") -> Any:
    (folder / "serving_input_example.json").write_text(json.dumps(document))
    mlmodel = {"signature": signature_document(schema, params), **INFO}
    return input_example.request(folder, mlmodel, frozenset(allow.split()))


ABC = columns_schema(("double", "a"), ("long", "b"), ("boolean", "c"))
OPTIONAL = columns_schema(("double", "a"), ("double", "b", False))


@pytest.mark.parametrize(
    ("schema", "document", "expected"),
    [
        (
            ABC,
            {"inputs": [[1.5, 2.0, 1.0]]},
            {"dataframe_split": {"columns": ["a", "b", "c"], "data": [[1.5, 2, True]]}},
        ),
        (OPTIONAL, {"inputs": [[1.5]]}, {"dataframe_split": {"columns": ["a"], "data": [[1.5]]}}),
        (OPTIONAL, {"inputs": [[1.5, 2]]}, {"dataframe_split": {"columns": ["a", "b"], "data": [[1.5, 2.0]]}}),
        (
            columns_schema(("double", None), ("string", None)),
            {"inputs": [[1.5, 2.5]]},
            {"dataframe_split": {"columns": [0, 1], "data": [[1.5, "2.5"]]}},
        ),
        (ABC, {"dataframe_records": [{"a": 1.5, "b": 2, "c": True}]}, None),
        (Schema([TensorSpec(np.dtype("float32"), (-1, 2))]), {"inputs": [[1.5, 2.0]]}, None),
    ],
)
def test_an_example_is_put_into_the_signatures_columns(
    schema: Schema, document: Any, expected: Any, tmp_path: Path
) -> None:
    """Rows of an array become rows of columns, in the JSON types that these ask for; other forms stay as they are."""
    assert request(tmp_path, schema, document) == (expected or document)


def test_params_go_with_it(tmp_path: Path) -> None:
    """What the example has beside its rows stays."""
    params = ParamSchema([ParamSpec("t", "double", 1.0)])
    document = {"inputs": [[1.5]], "params": {"t": 2.0}}
    assert request(tmp_path, columns_schema(("double", "a")), document, params)["params"] == {"t": 2.0}


@pytest.mark.parametrize(
    ("schema", "document", "message"),
    [
        (
            ABC,
            {"inputs": [[1.5, 2.5, 1.0]]},
            "The model's own input example is refused by its signature: Incompatible",
        ),
        (ABC, {"inputs": [[1.5, 2.0]]}, "The input example has rows of [2] values: expected 3, one for each column"),
        (ABC, {"inputs": [[1.5], [1.5, 2.0, 1.0]]}, "The input example has rows of [1, 3] values: expected 3"),
        (
            ABC,
            {"dataframe_split": {"columns": ["a"], "data": [[1.5]]}},
            "The model's own input example is refused by its",
        ),
        (ABC, {"inputs": []}, "The input example has rows of [] values: "),
        (ABC, {"inputs": 3}, "The model's own input example is refused by its signature: "),
        (ABC, [3], "The input example cannot be read: "),
        (ABC, None, "The input example cannot be read: "),
    ],
)
def test_an_example_that_its_signature_refuses_is_refused(
    schema: Schema, document: Any, message: str, tmp_path: Path
) -> None:
    """The refusal has the signature's own message."""
    with pytest.raises(NotServable) as caught:
        request(tmp_path, schema, document)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("info", [{}, {"saved_input_example_info": None}, INFO])
def test_a_model_without_example_is_refused(info: dict[str, Any], tmp_path: Path) -> None:
    """It is refused if the MLmodel file names no example, and if it names one that is not there."""
    with pytest.raises(NotServable, match=r"^The model has no input example: log it with"):
        input_example.request(tmp_path, {"signature": signature_document(ABC), **info}, frozenset())


def test_an_example_outside_of_the_model_is_refused(tmp_path: Path) -> None:
    """An example's path is not followed out of the model's folder."""
    (tmp_path / "outside.json").write_text('{"inputs": [[1.5, 2.0, 1.0]]}')
    model = tmp_path / "model"
    model.mkdir()
    info = {"saved_input_example_info": {"serving_input_path": "../outside.json"}}
    with pytest.raises(NotServable, match=r"^The model has no input example"):
        input_example.request(model, {"signature": signature_document(ABC), **info}, frozenset())
