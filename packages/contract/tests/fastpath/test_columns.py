from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import requests_drawn as drawn
from fast_and_slow import IRIS, hold_to_the_slow_way, outcome, repeated, signature
from hypothesis import given
from hypothesis import strategies as st
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec
from signet_contract import request
from signet_contract.contract import Contract
from signet_contract.errors import Rejected
from signet_contract.model_input import ModelInput

from testing.oracle import columns_schema, signature_document


@pytest.mark.parametrize("body", [b'[{"a": [1.5]}]', b'{"instances": [{"a": {"0": 1.5}}]}', b'[{"a": [[1.5]]}]'])
def test_a_list_in_a_record_is_no_column(body: bytes) -> None:
    """What stands in a record is a value: only in an object of columns a list is a column."""
    assert isinstance(outcome(signature(("double", "a")), body), Rejected)


@given(st.data())
def test_fast_way_gives_columns_as_the_slow_way_does(data: st.DataObject) -> None:
    """`check` gives the model input that `decision.decide` gives, bit for bit, or rejects exactly as it does."""
    types = data.draw(st.sampled_from([["double"], drawn.NUMBERS, drawn.TYPES, ["string", "double"]]))
    schema = data.draw(drawn.column_schemas(types, optional=data.draw(st.booleans())))
    body, _ = data.draw(drawn.requests(schema))
    hold_to_the_slow_way(schema, body, allow=data.draw(st.one_of(st.just(frozenset[str]()), drawn.allowances)))


@given(st.data())
def test_fast_way_gives_many_rows_as_the_slow_way_does(data: st.DataObject) -> None:
    """Likewise where lists are read into arrays, and in chunks."""
    types = data.draw(st.sampled_from([["double"], ["double", "float"], drawn.NUMBERS]))
    schema = data.draw(drawn.column_schemas(types, optional=data.draw(st.booleans())))
    body, _ = data.draw(drawn.requests(schema, large=True))
    hold_to_the_slow_way(schema, body)


@given(st.data())
def test_fast_way_gives_csv_as_the_slow_way_does(data: st.DataObject) -> None:
    """Likewise CSV, whose numbers pandas does not always read as the nearest double."""
    types = data.draw(st.sampled_from([["double"], ["double", "float", "long", "integer"], drawn.NUMBERS]))
    schema = data.draw(drawn.column_schemas(types, optional=data.draw(st.booleans())))
    hold_to_the_slow_way(schema, data.draw(drawn.csv(schema)), "text/csv")


@pytest.mark.parametrize(
    ("kind", "values", "is_sure"),
    [
        ("double", [1.5, 2.0], True),
        ("double", [-0.0], True),
        ("double", [1e18], True),
        ("double", [1e19], False),
        ("double", [1.5, 2], True),
        ("double", [1.5, 2**53], False),
        ("double", [1], False),
        ("double", [1, 0], True),
        ("double", [1, 2], False),
        ("double", [0, -1], False),
        ("double", [1, True], False),
        ("double", [1, None], False),
        ("double", [0, 1] * 1000, True),
        ("double", [*[0, 1] * 1000, 2], False),
        ("double", [*[0, 1] * 1000, -1], False),
        ("double", [None], False),
        ("double", ["1.5"], False),
        ("double", [True], False),
        ("float", [1, 2.5], True),
        ("float", [1e39], False),
        ("long", [1, 1 - 2**53], True),
        ("long", [2**53], False),
        ("long", [2**63], False),
        ("long", [True], False),
        ("integer", [2**31 - 1], True),
        ("integer", [2**31], False),
        ("integer", [2.0], False),
        ("boolean", [True, False], True),
        ("boolean", [1], False),
        ("string", ["a"], False),
        ("string", ["1.5", "-3", "007"], True),
        ("string", ["1.5", None], False),
        ("string", [1.5], False),
        ("string", ["1e5"], False),
        ("string", ["1" * 16], False),
        ("datetime", ["2020-01-01"], False),
        ("double", [], False),
    ],
)
def test_fast_way_takes_what_nobody_could_object_to(kind: str, values: list[Any], *, is_sure: bool) -> None:
    """The fast way answers for values of exactly the column's JSON type and range, and for nothing else."""
    decoded = request.decode(json.dumps({"inputs": {"a": values}}).encode())
    contract = signature((kind, "a"))
    assert (contract.fast_path(decoded) is not None) is is_sure


@pytest.mark.parametrize("rows", [2, 1000])
@pytest.mark.parametrize("odd", [0, 1, -1, 2, True, None, 0.5])
def test_a_column_of_doubles_may_be_zeros_and_ones(odd: Any, rows: int) -> None:
    """MLflow takes a double column of integers if each is 0 or 1; so does the fast way, and no other integers."""
    schema = columns_schema(("double", "a"), ("double", "b", False))
    records = [{"a": 1, "b": 0}] * (rows - 1) + [{"a": odd, "b": 1}]
    columns = {name: [record[name] for record in records] for name in ("a", "b")}
    split = {"columns": ["a", "b"], "data": [list(record.values()) for record in records]}
    for content in ({"dataframe_split": split}, {"dataframe_records": records}, {"inputs": columns}, columns):
        hold_to_the_slow_way(schema, json.dumps(content).encode())


USUAL = {
    "doubles": (columns_schema(("double", "a"), ("double", "b")), [1.5, 2.5]),
    "numbers": (columns_schema(("float", "a"), ("long", "b"), ("integer", "c"), ("boolean", "d")), [1.5, 2, 3, True]),
    "doubles and whole numbers": (columns_schema(("double", "a"), ("long", "b")), [-1.25e-3, -7]),
    "optional": (columns_schema(("double", "a"), ("double", "b", False)), [1.5, 2.5]),
    "wide": (columns_schema(*(("double", f"x{index}") for index in range(60))), [0.5] * 60),
}


@pytest.mark.parametrize("rows", [1, 3, 1000])
@pytest.mark.parametrize("key", ["split", "records", "bare", "instances", "inputs", "columns", "seed", "csv"])
@pytest.mark.parametrize("name", USUAL)
def test_usual_requests_need_no_enforcement(name: str, key: str, rows: int) -> None:
    """In every format, few rows or many, what plainly fits the signature becomes a model input without MLflow."""
    schema, row = USUAL[name]
    names = schema.input_names()[::-1]
    values = dict(zip(schema.input_names(), row, strict=True))
    record = {name: values[name] for name in names}
    columns = {name: [value] * rows for name, value in record.items()}
    labelled = {name: {str(index): value for index in range(rows)} for name, value in record.items()}
    documents: dict[str, Any] = {
        "split": {"dataframe_split": {"columns": names, "data": [list(record.values())] * rows}},
        "records": {"dataframe_records": [record] * rows},
        "bare": [record] * rows,
        "instances": {"instances": [record] * rows},
        "inputs": {"inputs": columns},
        "columns": columns,
        "seed": {"data": [json.dumps(labelled)]},
    }
    if key == "csv" and True in row:
        pytest.skip("pandas has its own words for booleans")
    csv = "\n".join(",".join(map(str, line)) for line in [names, *[list(record.values())] * rows])
    body, media = (csv.encode(), "text/csv") if key == "csv" else (json.dumps(documents[key]).encode(), "")
    for text in (body, bytearray(body)):  # TorchServe gives the latter
        model_input = Contract(signature_document(schema)).fast_path(request.decode(text, media))
        assert model_input is not None
        np.testing.assert_array_equal(model_input.inputs, np.array([row] * rows, np.float32))


@pytest.mark.parametrize("rows", [1, 1000])
@pytest.mark.parametrize(
    ("schema", "params", "allow", "document"),
    [
        (columns_schema(("double", None), ("long", None)), None, [], {"inputs": [[1.5, 2]]}),
        (columns_schema(("double", None), ("long", None)), None, [], {"dataframe_split": {"data": [[1.5, 2]]}}),
        (columns_schema(("double", "a"), ("double", "b", False)), None, [], {"inputs": {"a": [1.5]}}),
        (columns_schema(("double", "a"), ("long", "b", False)), None, [], {"dataframe_records": [{"a": 1.5}]}),
        (columns_schema(("double", "a")), None, ["whole_numbers"], {"inputs": {"a": [4]}}),
        (columns_schema(("double", "a")), None, ["nulls"], {"instances": [{"a": 4.5}]}),
        (columns_schema(("double", "a")), "params", [], {"inputs": {"a": [1.5]}}),
        (columns_schema(("double", "a")), "params", [], {"inputs": {"a": [1.5]}, "params": {"t": 2.5, "l": [3]}}),
        (columns_schema(("double", "a")), None, [], {"inputs": {"a": [1.5]}, "params": {"t": 2.5}}),
        (Schema([TensorSpec(np.dtype("float32"), (-1, 2))]), "params", [], {"inputs": [[1.5, 2]]}),
        (Schema([TensorSpec(np.dtype("int64"), (-1, 2), "t")]), None, [], {"inputs": {"t": [[1, 2]]}}),
    ],
)
def test_usual_requests_of_rarer_signatures_need_no_enforcement(
    schema: Schema, params: str | None, allow: list[str], document: dict[str, Any], rows: int
) -> None:
    """Neither do params, columns without names or absent ones, and whole numbers where they are allowed."""
    has_params = ParamSchema([ParamSpec("t", "double", 1.0), ParamSpec("l", "long", [1], (-1,))]) if params else None
    contract = Contract(signature_document(schema, has_params), frozenset(allow))
    body = json.dumps(repeated(document, rows)).encode()
    model_input = contract.fast_path(request.decode(body))
    assert model_input is not None
    assert model_input.rows == rows


@pytest.mark.parametrize("order", [IRIS, IRIS[::-1]])
@pytest.mark.parametrize(
    "key", ["dataframe_split", "dataframe_records", "instances", "inputs", "records", "seed", "bare", "csv"]
)
def test_columns_are_put_by_name(order: list[str], key: str) -> None:
    """Whatever order the columns come in, they are put in the signature's order, every row of them."""
    values = {name: [index + 0.5, index + 10.25] for index, name in enumerate(IRIS)}
    rows = [[values[name][row] for name in order] for row in range(2)]
    records = [dict(zip(order, row, strict=True)) for row in rows]
    columns = {name: values[name] for name in order}
    documents: dict[str, Any] = {
        "dataframe_split": {"dataframe_split": {"columns": order, "data": rows}},
        "dataframe_records": {"dataframe_records": records},
        "instances": {"instances": records},
        "inputs": {"inputs": columns},
        "records": records,
        "bare": columns,
        "seed": {"data": [json.dumps({name: {"0": a, "1": b} for name, (a, b) in columns.items()})]},
    }
    csv = "\n".join([",".join(order), *(",".join(map(str, row)) for row in rows)])
    body, media = (csv.encode(), "text/csv") if key == "csv" else (json.dumps(documents[key]).encode(), "")
    model_input = outcome(signature(*(("double", name) for name in IRIS)), body, media)
    assert isinstance(model_input, ModelInput)
    assert isinstance(model_input.inputs, np.ndarray)
    assert model_input.inputs.tolist() == [[0.5, 1.5, 2.5, 3.5], [10.25, 11.25, 12.25, 13.25]]
