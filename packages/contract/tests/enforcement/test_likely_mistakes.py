"""RejectionCache that name the mistake, where the mistake is known."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from mlflow.types import Schema, TensorSpec
from signet_contract import request
from signet_contract.codecs import mlflow
from signet_contract.contract import Contract
from signet_contract.errors import Rejected
from signet_contract.policy import Policy

from testing.oracle import columns_schema, signature_document

SCHEMAS = {
    "columns": columns_schema(("double", "a"), ("double", "b")),
    "columns without names": columns_schema(("double", None), ("double", None)),
    "a tensor": Schema([TensorSpec(np.dtype("float32"), (-1, 2))]),
    "named tensors": Schema([TensorSpec(np.dtype("float32"), (-1, 2), "a")]),
}
RECORD = {"a": 1.5, "b": 2.5}
SPLIT = {"columns": ["a", "b"], "index": [0], "data": [[1.5, 2.5]]}
JSON, CSV = "application/json", "text/csv"


def refused(schema: Schema, body: bytes, media: str = JSON, *allow: Policy) -> Rejected:
    with pytest.raises(Rejected) as caught:
        Contract(signature_document(schema), frozenset(allow)).admit(request.decode(body, media))
    return caught.value


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
@pytest.mark.parametrize(
    ("document", "unknown", "known"),
    [
        ({"instances": [RECORD], "signature_name": "x"}, ["signature_name"], "no other key than 'params'"),
        ({"inputs": [[1.5]], "id": 7, "params": {}, "x": 1}, ["id", "x"], "no other key than 'params'"),
        ({"dataframe_split": SPLIT, "parameters": {}}, ["parameters"], "no other key than 'params'"),
        ({"dataframe_records": [RECORD], "": None}, [""], "no other key than 'params'"),
        ({"data": [json.dumps(RECORD)], "model": "x"}, ["model"], "no other key"),
        ({"data": [json.dumps(RECORD)], "params": {}}, ["params"], "no other key"),
    ],
)
def test_a_key_beside_a_known_format_is_named(
    schema: Schema, document: dict[str, Any], unknown: list[str], known: str
) -> None:
    """A key that is not known beside the format is said to be so, and no column is said to be missing."""
    rejection = refused(schema, json.dumps(document).encode())
    format_ = next(key for key in document if key in {*mlflow.FORMATS, "data"})
    assert rejection.message == (
        f"The body has unknown keys beside '{format_}': {unknown}. Beside '{format_}' {known} is known."
    )
    assert (rejection.status, rejection.rule) == (400, "format")


def test_many_and_long_unknown_keys_are_cut() -> None:
    """The message has a bound, whatever the body names."""
    body = {"inputs": [[1.5]]} | {f"{number}{'x' * 2000}": 1 for number in range(1000)}
    assert len(refused(SCHEMAS["columns"], json.dumps(body).encode()).message) <= 4000


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
@pytest.mark.parametrize("keys", [["columns", "index", "data"], ["data", "columns"], ["index", "data"]])
def test_a_split_at_the_top_is_told_its_key(schema: Schema, keys: list[str]) -> None:
    """MLflow 1's split is told to go under `dataframe_split`."""
    rejection = refused(schema, json.dumps({key: SPLIT[key] for key in keys}).encode())
    assert "put them under the key 'dataframe_split'" in rejection.message


@pytest.mark.parametrize(
    "names", [("inputs", "more"), ("instances", "signature_name"), ("columns", "data"), ("data", "index")]
)
def test_columns_that_are_called_like_formats_are_columns(names: tuple[str, ...]) -> None:
    """A signature may have such columns: they are served, and what is wrong with them is said of columns."""
    schema = columns_schema(*(("double", name) for name in names))
    signature = Contract(signature_document(schema))
    model_input = signature.admit(request.decode(json.dumps({name: [1.5] for name in names}).encode()))
    assert model_input.inputs.tolist() == [[1.5, 1.5]]
    assert refused(schema, json.dumps({names[0]: [1.5], "x": [1.5]}).encode()).rule == "columns"


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
@pytest.mark.parametrize("body", [b"a,b1.5,2.5", b"a,b1.5,2.5\n", b'"a","b"1.5,2.5', b"a,b 1.5,2.5 3.5,4.5"])
def test_csv_whose_line_ends_are_gone_is_told_how_to_keep_them(schema: Schema, body: bytes) -> None:
    """CSV in one line is told that it needs more, and which of curl's options takes line ends away."""
    message = refused(schema, body, CSV).message
    assert message.startswith("The CSV has one line: ")
    assert "-T and --data-binary" in message


@pytest.mark.parametrize(
    ("body", "called"),
    [
        (b"a;b\n1.5;2.5\n", "semicolons"),
        (b"a;b\r\n1,5;2,5\r\n", "semicolons"),
        (b"a\tb\n1.5\t2.5\n", "tabs"),
        (b"a;b1.5;2.5", "semicolons"),
    ],
)
def test_csv_with_other_separators_is_told_to_have_commas(body: bytes, called: str) -> None:
    """CSV as some countries' spreadsheets write it says that commas are expected."""
    message = refused(SCHEMAS["columns"], body, CSV).message
    assert message == f"The CSV has {called} in its header: commas are expected between cells, and points in numbers."


def test_a_name_may_have_a_semicolon() -> None:
    """A column that is called so is no mistake."""
    schema = columns_schema(("double", "a;b"))
    assert Contract(signature_document(schema)).admit(request.decode(b"a;b\n1.5\n", CSV)).inputs.tolist() == [[1.5]]
    assert "semicolons" not in refused(schema, b"a;b\nx\n", CSV).message


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("document", [{"inputs": [[1.5, 2.5]]}, [RECORD], {"a": [1.5]}])
def test_json_that_is_called_csv_is_told_its_header(schema: Schema, indent: int | None, document: Any) -> None:
    """JSON under CSV's media type is told JSON's."""
    message = refused(schema, json.dumps(document, indent=indent).encode(), CSV).message
    assert "send it with the header 'Content-Type: application/json'" in message


def test_a_csv_header_alone_has_no_rows() -> None:
    """A header of the right columns lacks no line ends, but rows, unless that is allowed."""
    assert refused(SCHEMAS["columns"], b"a,b", CSV).rule == "empty"
    signature = Contract(signature_document(SCHEMAS["columns"]), frozenset({Policy.EMPTY}))
    assert signature.admit(request.decode(b"a,b", CSV)).inputs.shape == (0, 2)


@pytest.mark.parametrize(
    "inside", [{"data": 1.5, "x": 2.5}, {"data": {"0": 1.5}, "": {"0": 2.5}}, {"inputs": [1.5], "x": [2.5]}]
)
@pytest.mark.parametrize("is_text", [True, False])
def test_keys_that_stand_under_data_are_not_said_to_be_the_bodys(inside: dict[str, Any], *, is_text: bool) -> None:
    """What stands under `data` is columns: they lack the signature's, and the body itself has one key."""
    body = json.dumps({"data": [json.dumps(inside)] if is_text else inside}).encode()
    assert refused(SCHEMAS["columns"], body).message == (
        f"Model is missing inputs ['a', 'b']. Note that there were extra inputs: {list(inside)}."
    )
