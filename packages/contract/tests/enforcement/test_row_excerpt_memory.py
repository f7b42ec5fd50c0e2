from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from mlflow.types import Schema, TensorSpec
from signet_contract import request
from signet_contract.enforcement import decision
from signet_contract.errors import Rejected

from testing.oracle import columns_schema, signature_document

TWO = columns_schema(("double", "a"), ("double", "b"))
TENSOR = Schema([TensorSpec(np.dtype("float32"), (-1, 2))])


def refused(schema: Schema, content: Any) -> tuple[str, int]:
    """What a large body is refused with, and how much memory that took at most."""
    source = request.RawBody(json.dumps(content).encode())
    tracemalloc.start()
    with pytest.raises(Rejected) as caught:
        decision.read_whole(signature_document(schema), source.unread())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return caught.value.message, peak


WRONG = ["x", "5.1", None, True, 7, 1e39, float("nan"), [], {}, "\n"]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize("form", ["split", "records", "columns", "lists", "short rows", "labelled", "mixed"])
def test_a_wrong_body_is_never_there_as_a_whole(form: str, wrong: Any) -> None:
    """Whatever is wrong with a million bytes, to refuse them takes the memory of a few chunks."""
    row = [wrong, wrong]
    rows = 1_000_000 // (len(json.dumps(row)) + 2)
    content: Any = {
        "split": {"dataframe_split": {"columns": ["a", "b"], "data": [row] * rows}},
        "records": {"dataframe_records": [{"a": wrong, "b": wrong}] * (rows // 2)},
        "columns": {"inputs": {"a": [wrong] * rows, "b": [wrong] * rows}},
        "lists": [row] * rows,
        "short rows": {"dataframe_split": {"columns": ["a", "b"], "data": [[1.5, 2.5]] * 99 + [[wrong]] * rows}},
        "labelled": {name: {str(row): wrong for row in range(rows // 2)} for name in ("a", "b")},
        "mixed": {"inputs": {"a": [1.5, wrong, "x"] * (rows // 2), "b": [0.5] * (3 * (rows // 2))}},
    }[form]
    schema = columns_schema(("double", None), ("double", None)) if form == "lists" else TWO
    _, peak = refused(schema, content)
    assert peak < 8_000_000


RECORD = {"a": 1.5, "b": 2.5}
DEEP: Any = 1.5
for _ in range(34):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("schema", "content", "message"),
    [
        (TWO, [*[RECORD] * 60_000, RECORD | {"c": 1.5}], "Model has no inputs ['c']: extra inputs are refused."),
        (TWO, {"inputs": {"a": [1.5] * 99_999, "b": [1.5] * 99_998}}, "The inputs cannot be read as rows and "),
        (TWO, {"inputs": {"a": ["x"] * 99_999, "b": [1.5] * 99_998}}, "The inputs cannot be read as rows and "),
        (TWO, {"inputs": {"a": [1.5] * 99_999, "b": [[]] * 99_999}}, "Column b has array in row 0: expected double."),
        (TWO, {"dataframe_split": {"columns": ["a", "b"], "data": [[]] * 300_000}}, "Invalid input. Provided "),
        (TWO, [{"a": 1.5, "b": DEEP}] * 10_000, "The body is nested too deeply: at most 32 lists and objects may "),
        (TENSOR, [*[[1.5, 2.5]] * 80_000, [1.5]], "The input is not a regular array: some lists at depth 2 have 1"),
        (TENSOR, [*[[1.5, 2.5]] * 80_000, "x"], "The input is not a regular array: some items at depth 2 are lists"),
        (TENSOR, [*[[[1.5], [2.5, 1.5]]] * 50_000], "The input is not a regular array: some lists at depth 3 have 1"),
    ],
)  # fmt: skip
def test_a_body_of_a_wrong_form_is_never_there_as_a_whole(schema: Schema, content: Any, message: str) -> None:
    """Whether its last row tells, or each, to refuse it takes the memory of a few chunks."""
    said, peak = refused(schema, content)
    assert said.startswith(message)
    assert peak < 8_000_000
