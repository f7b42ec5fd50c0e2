from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from fast_and_slow import outcome
from hypothesis import given
from hypothesis import strategies as st
from mlflow.types import Schema, TensorSpec
from signet_contract.contract import Contract
from signet_contract.model_input import ModelInput

from testing.oracle import columns_schema, signature_document


def admitted(schema: Schema, content: Any) -> ModelInput:
    found = outcome(Contract(signature_document(schema)), json.dumps({"inputs": content}).encode())
    assert isinstance(found, ModelInput), found.message
    return found


@given(shape=st.lists(st.integers(0, 3), max_size=3), names=st.lists(st.text(max_size=2), max_size=3, unique=True))
def test_rows_are_the_first_axis(shape: list[int], names: list[str]) -> None:
    """As many as the first axis of the input is long, or of the first one by name; without an axis there is one."""
    array = np.zeros(shape)
    inputs = dict.fromkeys(names, array) or array
    assert ModelInput(inputs, {}, framed=False).rows == (shape[0] if shape else 1)


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_rows_are_those_of_the_request(rows: int) -> None:
    """In columns, in one tensor and in named ones; a model of columns gets float32 [rows, columns], framed."""
    columns = admitted(columns_schema(("double", "a"), ("long", "b")), {"a": [1.5] * rows, "b": [2] * rows})
    assert isinstance(columns.inputs, np.ndarray)
    assert (columns.inputs.shape, columns.inputs.dtype) == ((rows, 2), np.float32)
    spec = TensorSpec(np.dtype("float64"), (-1, 2, 1))
    tensor = admitted(Schema([spec]), [[[1.5], [2.5]]] * rows)
    assert isinstance(tensor.inputs, np.ndarray)
    assert tensor.inputs.shape == (rows, 2, 1)
    named = admitted(Schema([TensorSpec(spec.type, spec.shape, "t")]), {"t": [[[1.5], [2.5]]] * rows})
    assert isinstance(named.inputs, dict)
    assert [found.rows for found in (columns, tensor, named)] == [rows] * 3
    assert [found.framed for found in (columns, tensor, named)] == [True, False, False]
