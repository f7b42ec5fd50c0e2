from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from mlflow.types import Schema, TensorSpec
from signet_contract import request
from signet_contract.contract import Contract
from signet_contract.errors import Rejected
from signet_contract.policy import Policy

from testing.oracle import columns_schema, signature_document

UNNAMED = {
    "a tensor": Schema([TensorSpec(np.dtype("float32"), (-1, 2))]),
    "a tensor of doubles": Schema([TensorSpec(np.dtype("float64"), (-1, 2))]),
    "columns": columns_schema(("double", None), ("double", None)),
}
ROW = [20.5, 10.25]


def bodies(names: list[Any]) -> dict[str, bytes]:
    """One row under these names, in each format that can have them."""
    record = dict(zip(map(str, names), ROW, strict=True))
    documents: dict[str, Any] = {
        "split": {"dataframe_split": {"columns": names, "data": [ROW]}},
        "split of many rows": {"dataframe_split": {"columns": names, "data": [ROW] * 500}},
        "split with an index": {"dataframe_split": {"columns": names, "index": [7], "data": [ROW]}},
        "records": {"dataframe_records": [record]},
        "bare records": [record],
        "many records": {"dataframe_records": [record] * 500},
        "instances": {"instances": [record]},
        "inputs": {"inputs": {name: [value] for name, value in record.items()}},
        "bare": {name: [value] for name, value in record.items()},
        "seed": {"data": [json.dumps({name: {"0": value} for name, value in record.items()})]},
        "one row": record,
    }
    return {key: json.dumps(document).encode() for key, document in documents.items()}


def check(schema: Schema, body: bytes, *allow: Policy) -> Any:
    return Contract(signature_document(schema), frozenset(allow)).admit(request.decode(body)).inputs


NAMES: list[list[Any]] = [["minutes", "km"], ["b", "a"], [1, 0], ["1", "0"], [0, 2], ["0", "km"], ["0", "00"]]


@pytest.mark.parametrize("names", NAMES, ids=str)
@pytest.mark.parametrize("key", bodies(["a", "b"]))
@pytest.mark.parametrize("schema", UNNAMED.values(), ids=UNNAMED)
def test_names_that_a_signature_without_names_cannot_check_are_refused(
    schema: Schema, key: str, names: list[Any]
) -> None:
    """Whatever the format, columns with names are never taken by their places."""
    with pytest.raises(Rejected) as refused:
        check(schema, bodies(names)[key])
    assert refused.value.status == 400


@pytest.mark.parametrize("key", sorted(bodies(["a", "b"]).keys() - {"instances"}))
@pytest.mark.parametrize("schema", UNNAMED.values(), ids=UNNAMED)
def test_the_rejection_of_names_says_how_to_log_some(schema: Schema, key: str) -> None:
    """It has the names and MLflow's function."""
    with pytest.raises(Rejected) as refused:
        check(schema, bodies(["minutes", "km"])[key])
    assert refused.value.rule in ("columns", "format")
    assert "['minutes', 'km']" in refused.value.message
    assert "mlflow.models.set_signature" in refused.value.message


@pytest.mark.parametrize("names", [[0, 1], ["0", "1"]], ids=str)
@pytest.mark.parametrize("key", ["split", "split of many rows", "records", "many records"])
@pytest.mark.parametrize("schema", UNNAMED.values(), ids=UNNAMED)
def test_names_that_count_the_columns_are_none(schema: Schema, key: str, names: list[Any]) -> None:
    """0, 1, … are what pandas calls columns without names."""
    assert np.unique(check(schema, bodies(names)[key]), axis=0).tolist() == [ROW]


@pytest.mark.parametrize("names", NAMES, ids=str)
@pytest.mark.parametrize("key", ["split", "split of many rows", "records", "many records"])
@pytest.mark.parametrize("schema", UNNAMED.values(), ids=UNNAMED)
def test_unchecked_names_can_be_let_through(schema: Schema, key: str, names: list[Any]) -> None:
    """With the word `unchecked_names` columns are taken by their places, as MLflow takes them."""
    model_input = check(schema, bodies(names)[key], Policy.UNCHECKED_NAMES)
    assert np.unique(model_input, axis=0).tolist() == [ROW]
