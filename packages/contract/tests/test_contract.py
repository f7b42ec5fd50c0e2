from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests_drawn as drawn
from hypothesis import currently_in_test_context, event, given
from hypothesis import strategies as st
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec
from oracle import columns_schema, signature_document
from signet_contract import request
from signet_contract.contract import Contract
from signet_contract.enforcement import decision
from signet_contract.errors import MAX_VIOLATIONS, Rejected
from signet_contract.model_input import ModelInput

LARGE_BYTES = 1 << 11  # from there on lists are read into arrays
IRIS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]


def signature(*specs: tuple[Any, ...]) -> Contract:
    return Contract(signature_document(columns_schema(*specs)))


@pytest.mark.parametrize("body", [b'[{"a": [1.5]}]', b'{"instances": [{"a": {"0": 1.5}}]}', b'[{"a": [[1.5]]}]'])
def test_a_list_in_a_record_is_no_column(body: bytes) -> None:
    """What stands in a record is a value: only in an object of columns a list is a column."""
    assert isinstance(outcome(signature(("double", "a")), body), Rejected)


def outcome(contract: Contract, body: bytes, content_type: str = "") -> ModelInput | Rejected:
    try:
        return contract.admit(request.decode(body, content_type))
    except Rejected as rejection:
        return rejection


def slowly(
    document: dict[str, Any], decoded: request.DecodedRequest, allow: frozenset[str] = frozenset()
) -> ModelInput | Rejected:
    try:
        return decision.decide(document["inputs"], None, document["params"], decoded, allow)
    except Rejected as rejection:
        return rejection


@given(st.data())
def test_fast_way_feeds_columns_as_the_slow_way_does(data: st.DataObject) -> None:
    """`check` feeds exactly what `decision.decide` feeds, bit for bit, or refuses exactly as it does."""
    types = data.draw(st.sampled_from([["double"], drawn.NUMBERS, drawn.TYPES, ["string", "double"]]))
    schema = data.draw(drawn.column_schemas(types, optional=data.draw(st.booleans())))
    body, _ = data.draw(drawn.requests(schema))
    hold_to_the_slow_way(schema, body, allow=data.draw(st.one_of(st.just(frozenset[str]()), drawn.allowances)))


@given(st.data())
def test_fast_way_feeds_many_rows_as_the_slow_way_does(data: st.DataObject) -> None:
    """Likewise where lists are read into arrays, and in pieces."""
    types = data.draw(st.sampled_from([["double"], ["double", "float"], drawn.NUMBERS]))
    schema = data.draw(drawn.column_schemas(types, optional=data.draw(st.booleans())))
    body, _ = data.draw(drawn.requests(schema, large=True))
    hold_to_the_slow_way(schema, body)


@given(st.data())
def test_fast_way_feeds_tensors_as_the_slow_way_does(data: st.DataObject) -> None:
    """Likewise nested lists for an unnamed tensor and for named ones."""
    specs = data.draw(st.lists(drawn.tensor_specs(), min_size=1, max_size=3))
    lists = [data.draw(drawn.nested_lists(spec)) * data.draw(st.sampled_from([1, 1, 1, 500])) for spec in specs]
    if len(specs) == 1 and data.draw(st.booleans()):
        document = {data.draw(st.sampled_from(["inputs", "instances"])): lists[0]}
    else:
        specs = [TensorSpec(spec.type, spec.shape, f"t{index}") for index, spec in enumerate(specs)]
        document = {"inputs": {spec.name: values for spec, values in zip(specs, lists, strict=True)}}
    hold_to_the_slow_way(Schema(specs), json.dumps(document).encode())


@pytest.mark.parametrize("dtype", drawn.DTYPES)
@pytest.mark.parametrize("shape", [(-1,), (-1, 2), (-1, 2, 3)])
@pytest.mark.parametrize("odd", [None, -1, 2, 0.5, True, 127, 128, 255, 256, 70000, 2**31, 2**53, 2**63, 1e39, "1"])
def test_fast_way_feeds_large_tensors_as_the_slow_way_does(dtype: str, shape: tuple[int, ...], odd: Any) -> None:
    """In every dtype and depth, perhaps with a value of another type or about where the dtype ends."""
    spec = TensorSpec(np.dtype(dtype), shape)
    leaf = {"b": True, "f": 1.5}.get(spec.type.kind, 3)
    array = np.full((600, *shape[1:]), leaf, dtype=object)
    if odd is not None:
        array.flat[700 % array.size] = odd
    body = json.dumps({"inputs": array.tolist()}).encode()
    hold_to_the_slow_way(Schema([spec]), body)
    if odd is None:
        assert Contract(signature_document(Schema([spec]))).fast_path(request.decode(body)) is not None


@given(st.data())
def test_fast_way_feeds_csv_as_the_slow_way_does(data: st.DataObject) -> None:
    """Likewise CSV, whose numbers pandas does not always read as the nearest double."""
    types = data.draw(st.sampled_from([["double"], ["double", "float", "long", "integer"], drawn.NUMBERS]))
    schema = data.draw(drawn.column_schemas(types, optional=data.draw(st.booleans())))
    hold_to_the_slow_way(schema, data.draw(drawn.csv(schema)), "text/csv")


@given(st.data())
def test_fast_way_feeds_params_as_the_slow_way_does(data: st.DataObject) -> None:
    """Likewise params, sent or not."""
    specs = data.draw(drawn.param_schemas())
    document = {"inputs": {"a": [1.5]}} | data.draw(drawn.sent_params(specs))
    hold_to_the_slow_way(columns_schema(("double", "a")), json.dumps(document).encode(), params=specs)


def varied(draw: st.DrawFn, document: Any) -> Any:  # noqa: PLR0911 -- one for each kind
    """Other values of the same kinds."""
    if isinstance(document, dict):
        names = ("columns",) if "data" in document else ()
        return {name: value if name in names else varied(draw, value) for name, value in document.items()}
    if isinstance(document, list):
        return [varied(draw, value) for value in document]
    if isinstance(document, str):
        if document[:1] in ("{", "["):  # the seed's JSON in JSON
            return json.dumps(varied(draw, json.loads(document)))
        return draw(st.sampled_from(["", "abc", "1.5", "2020-01-01", "true", "nan"]))
    if isinstance(document, bool) or document is None:
        return draw(st.booleans()) if document is not None else None
    if isinstance(document, int):
        return draw(st.integers(-(2**31) + 1, 2**31 - 1)) if abs(document) < 2**31 else document
    if abs(document) >= 2**31:
        return document
    return draw(st.integers(-99, 99)) + (0.0 if document.is_integer() else 0.25)


@given(st.data())
def test_refusals_that_repeat_are_those_that_the_slow_way_gives(data: st.DataObject) -> None:
    """A rejection that is remembered for one request is word for word what another of its kind would get."""
    schema = data.draw(drawn.column_schemas(drawn.NUMBERS, optional=data.draw(st.booleans())))
    body, _ = data.draw(drawn.requests(schema))
    document = signature_document(schema)
    contract = Contract(document)
    outcome(contract, body)
    other = json.dumps(varied(data.draw, json.loads(body))).encode() if body[:1] in b"{[" else body
    slow = slowly(document, request.decode(other))
    again = outcome(contract, other)
    assert isinstance(again, Rejected) is isinstance(slow, Rejected)
    if isinstance(again, Rejected) and isinstance(slow, Rejected):
        event("remembered" if contract._rejections and contract._rejections._by_kind else "particular")
        assert again.document() == slow.document()


def hold_to_the_slow_way(
    schema: Schema,
    body: bytes,
    content_type: str = "",
    *,
    params: ParamSchema | None = None,
    allow: frozenset[str] = frozenset(),
) -> None:
    document = signature_document(schema, params)
    contract = Contract(document, allow)
    decoded = request.decode(body, content_type)
    fast = contract.fast_path(decoded)
    if currently_in_test_context():
        event(f"{'fast' if fast is not None else 'abstains'}{', of a large body' if len(body) > LARGE_BYTES else ''}")
    slow = slowly(document, decoded, allow)
    if isinstance(slow, Rejected):
        assert fast is None, slow.message
        with pytest.raises(Rejected) as caught:
            contract.admit(decoded)
        assert caught.value.message == slow.message
        return
    for model_input in [contract.admit(decoded), *([] if fast is None else [fast])]:
        assert model_input.framed == slow.framed
        assert typed(model_input.params) == typed(slow.params)
        assert list(by_name(model_input.inputs)) == list(by_name(slow.inputs))
        for name, array in by_name(model_input.inputs).items():
            expected = by_name(slow.inputs)[name]
            assert array.dtype == expected.dtype
            assert array.shape == expected.shape
            assert array.tobytes() == expected.tobytes()


def typed(params: dict[str, Any]) -> str:
    """Text in which order counts, and 1 and 1.0 differ."""
    return repr(params)


def by_name(inputs: Any) -> dict[str | None, Any]:
    return inputs if isinstance(inputs, dict) else {None: inputs}


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
def test_usual_requests_need_no_verdict(name: str, key: str, rows: int) -> None:
    """In every format, few rows or many, what fits the signature plainly is fed without asking MLflow."""
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


@pytest.mark.parametrize("rows", range(90, 130, 5))
@pytest.mark.parametrize("is_labelled", [True, False])
def test_columns_may_be_of_different_lengths_in_the_text(rows: int, *, is_labelled: bool) -> None:
    """Some columns may be read into arrays and others be too short for it."""
    columns: Any = {"a": [-1.0625] * rows, "b": [1, 2, 3, 4, 5] * (rows // 5), "c": [True] * rows, "d": [0.5] * rows}
    if is_labelled:
        columns = {name: {str(row): value for row, value in enumerate(column)} for name, column in columns.items()}
    contract = signature(("double", "a"), ("long", "b"), ("boolean", "c"), ("float", "d"))
    model_input = contract.fast_path(request.decode(json.dumps(columns).encode()))
    assert model_input is not None
    np.testing.assert_array_equal(model_input.inputs[0], np.array([-1.0625, 1, 1, 0.5], np.float32))
    columns["b"] = dict(reversed(columns["b"].items())) if is_labelled else columns["b"][1:]
    assert contract.fast_path(request.decode(json.dumps(columns).encode())) is None


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
def test_usual_requests_of_rarer_signatures_need_no_verdict(
    schema: Schema, params: str | None, allow: list[str], document: dict[str, Any], rows: int
) -> None:
    """Neither do params, columns without names or absent ones, and whole numbers where they are allowed."""
    has_params = ParamSchema([ParamSpec("t", "double", 1.0), ParamSpec("l", "long", [1], (-1,))]) if params else None
    contract = Contract(signature_document(schema, has_params), frozenset(allow))
    body = json.dumps(repeated(document, rows)).encode()
    model_input = contract.fast_path(request.decode(body))
    assert model_input is not None
    assert model_input.rows == rows


def repeated(node: Any, times: int) -> Any:
    """The document with each of its lists of rows that often; params stay as they are."""
    if isinstance(node, dict):
        return {name: value if name == "params" else repeated(value, times) for name, value in node.items()}
    return node * times if isinstance(node, list) else node


@pytest.mark.parametrize("order", [IRIS, IRIS[::-1]])
@pytest.mark.parametrize(
    "key", ["dataframe_split", "dataframe_records", "instances", "inputs", "records", "seed", "bare", "csv"]
)
def test_columns_are_fed_by_name(order: list[str], key: str) -> None:
    """Whatever order the columns come in, they are fed in the signature's order, every row of them."""
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


def columns(**values: Any) -> bytes:
    return json.dumps({"inputs": values}).encode()


MISSING = "Model is missing inputs ['a', 'b']."
TWO = (("double", "a"), ("double", "b"))
UNSAFE = "Incompatible input types for column a. Can not safely convert"


@pytest.mark.parametrize(
    ("specs", "body", "message", "rules"),
    [
        (TWO, columns(c=[1.5]), f"{MISSING} Note that there were extra inputs: ['c'].", ["columns"] * 3),
        (
            TWO,
            columns(z=[1.5], y=[1.5], x=[1.5]),
            f"{MISSING} Note that there were extra inputs: ['z', 'y', 'x'].",
            None,
        ),
        (TWO, columns(a=[1.5]), "Model is missing inputs ['b'].", ["columns"]),
        (TWO, columns(a=[1.5], b=[1.5], c=[1]), "Model has no inputs ['c']: extra inputs are refused.", ["columns"]),
        (TWO, columns(a=[5], b=[2]), f"{UNSAFE} int64 to float64.", ["type", "type"]),
        (
            TWO,
            columns(a=[1.5, None], b=[1.5, 1.5]),
            "Column a is required and has null in row 1: expected double.",
            ["null"],
        ),
        (TWO, columns(a=[1.5, "3.5"], b=[1.5, 1.5]), "Column a has string in row 1: expected double.", ["type"]),
        (TWO, columns(a=[1.5, True], b=[1.5, 1.5]), "Column a has boolean in row 1: expected double.", ["type"]),
        (
            TWO,
            b'{"inputs": {"a": [1e400], "b": [1.5]}}',
            "Column a has inf in row 0: expected a finite number.",
            ["finite"],
        ),
        (
            TWO,
            b'{"inputs": {"a": [NaN], "b": [-Infinity]}}',
            "Column a is required and has null in row 0: expected double.",
            ["null", "finite"],
        ),
        (TWO, columns(a=[], b=[]), "The input is empty: at least one row is expected.", ["empty"]),
        ((("long", "a"),), columns(a=[1, 2.0]), f"{UNSAFE} float64 to int64.", ["type", "type"]),
        ((("long", "a"),), columns(a=[2**63]), f"{UNSAFE} uint64 to int64.", ["type"]),
        ((("long", "a"),), columns(a=[2**64]), f"{UNSAFE} object to int64.", ["type"]),
        ((("double", "a"),), columns(a=[2**63]), f"{UNSAFE} uint64 to float64.", ["type"]),
        ((("integer", "a"),), columns(a=[1.5]), f"{UNSAFE} float64 to int32.", ["type"]),
        ((("integer", "a"),), columns(a=[2**31]), f"{UNSAFE} int64 to int32.", ["type"]),
        ((("float", "a"),), columns(a=[1e39]), f"{UNSAFE} float64 to float32.", ["type"]),
        ((("boolean", "a"),), columns(a=[1]), f"{UNSAFE} int64 to bool.", ["type"]),
        ((("string", "a"),), columns(a=[1, "b"]), "Column a has int64 in row 0: expected string.", ["type"]),
        ((("datetime", "a"),), columns(a=["today-ish"]), f"{UNSAFE} str to datetime64[ns].", ["type"]),
        (
            (("double", "a"),),
            columns(a=[1.5, 1e39, -1e39]),
            "Column a has 1e+39 in row 1: expected a finite number in float32.",
            ["finite", "finite"],
        ),
        (
            (("string", "a"),),
            columns(a=["1.5", "nan", "-1e400"]),
            "Column a has 'nan' in row 1: expected a finite number in float32.",
            ["finite", "finite"],
        ),
        (
            (("string", "a", False), ("double", "b")),
            columns(a=[None, "1e39"], b=[1.5, 1.5]),
            "Column a has '1e39' in row 1: expected a finite number in float32.",
            ["finite"],
        ),
        (
            (("binary", "a"),),
            columns(a=["bmFu"]),
            "Column a has 'bmFu' in row 0: expected a finite number in float32.",
            ["finite"],
        ),
    ],
)
def test_refusals_say_what_mlflow_says(
    specs: tuple[Any, ...], body: bytes, message: str, rules: list[str] | None
) -> None:
    """A rejection has MLflow's message where MLflow refuses, and an entry for each violation, with its rule."""
    rejection = outcome(signature(*specs), body)
    assert isinstance(rejection, Rejected)
    assert rejection.message == message
    assert rules is None or [violation.rule for violation in rejection.violations] == rules


@pytest.mark.parametrize(
    ("specs", "body", "expected"),
    [
        ((("double", "a"),), columns(a=[1.5, 2]), [[1.5], [2.0]]),
        ((("double", "a"),), columns(a=[0, 1]), [[0.0], [1.0]]),
        ((("double", "a", False),), columns(a=[1.5, None]), [[1.5], [np.nan]]),
        ((("double", "a"), ("double", "b", False)), columns(a=[1.5]), [[1.5, np.nan]]),
        ((("integer", "a"),), columns(a=[2.0, 3]), [[2.0], [3.0]]),
        ((("float", "a"),), columns(a=[3, 2.5]), [[3.0], [2.5]]),
        ((("boolean", "a"), ("long", "b")), columns(a=[True], b=[7]), [[1.0, 7.0]]),
        ((("double", "data"),), b'{"data": [1.5, 2.5]}', [[1.5], [2.5]]),
        ((("double", "data"),), b'{"inputs": {"data": [1.5]}}', [[1.5]]),
        ((("double", "inputs"),), b'[{"inputs": 1.5}]', [[1.5]]),
        ((("double", "inputs"),), b'{"inputs": {"inputs": [1.5]}}', [[1.5]]),
        ((("double", "a"),), columns(a=[2**64]), [[2.0**64]]),
        ((("double", "a"),), b'{"a": 1.5, "a": 2.5}', [[2.5]]),
        (
            (("double", "a"),),
            b'{"dataframe_split": {"columns": ["a"], "data": [[1.5], [2.5]], "index": [7, 7]}}',
            [[1.5], [2.5]],
        ),
        ((("double", None), ("double", None)), b'{"dataframe_split": {"data": [[1.5, 2.5]]}}', [[1.5, 2.5]]),
        ((("double", None), ("double", None)), b'{"inputs": [[1.5, 2.5]]}', [[1.5, 2.5]]),
    ],
)
def test_admitted_values_are_fed(specs: tuple[Any, ...], body: bytes, expected: list[Any]) -> None:
    """What the signature admits is fed as float32, as pyfunc does."""
    model_input = outcome(signature(*specs), body)
    assert isinstance(model_input, ModelInput), model_input.message
    assert isinstance(model_input.inputs, np.ndarray)
    assert model_input.inputs.dtype == np.float32
    np.testing.assert_array_equal(model_input.inputs, np.array(expected, np.float32))


@pytest.mark.parametrize(
    ("allow", "specs", "body", "expected"),
    [
        ("extra_columns", (("double", "a"),), columns(z=["x"], a=[1.5]), [[1.5]]),
        ("nulls", (("double", "a"),), columns(a=[1.5, None]), [[1.5], [np.nan]]),
        ("nulls", (("long", "a"),), columns(a=[1, None]), f"{UNSAFE} float64 to int64. Hint: the type mismatch is"),
        ("non_finite", (("double", "a"),), b'{"inputs": {"a": [1e400, -Infinity]}}', [[np.inf], [-np.inf]]),
        ("non_finite", (("double", "a"),), columns(a=[1e39, 1.5]), [[np.inf], [1.5]]),
        ("non_finite", (("string", "a"),), columns(a=["nan", "-1e39"]), [[np.nan], [-np.inf]]),
        ("mixed_types", (("double", "a"),), columns(a=[1.5, ""]), "Column a has '' in row 1: expected a finite number"),
        ("empty", (("double", "a"),), columns(a=[]), np.empty((0, 1))),
        ("empty", (("string", "a"),), columns(a=[]), f"{UNSAFE} float64 to <U0."),
        ("mixed_types", (("boolean", "a"),), columns(a=[True, 0.5]), [[1.0], [0.5]]),
        ("mixed_types", (("double", "a"),), columns(a=["1.5"]), f"{UNSAFE} str to float64."),
        ("whole_numbers", (("double", "a"),), columns(a=[4, -(2**53)]), [[4.0], [-(2.0**53)]]),
        ("whole_numbers", (("double", "a"),), columns(a=[4, 2**53 + 1]), f"{UNSAFE} int64 to float64."),
        ("whole_numbers", (("double", "a"),), columns(a=[True]), f"{UNSAFE} bool to float64."),
        ("nulls", (("double", "a"),), columns(a=[4]), f"{UNSAFE} int64 to float64."),
    ],
)
def test_a_word_lets_through_what_its_rule_refuses(
    allow: str, specs: tuple[Any, ...], body: bytes, expected: Any
) -> None:
    """Each word of `serving.allow` lifts its own rule, and what MLflow refuses besides stays refused."""
    strict, lax = (Contract(signature_document(columns_schema(*specs)), frozenset(words)) for words in ((), (allow,)))
    assert isinstance(outcome(strict, body), Rejected)
    fed = outcome(lax, body)
    if isinstance(expected, str):
        assert isinstance(fed, Rejected)
        assert fed.message.startswith(expected)
        return
    assert isinstance(fed, ModelInput), fed.message
    assert isinstance(fed.inputs, np.ndarray)
    np.testing.assert_array_equal(fed.inputs, np.array(expected, np.float32))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1e400"])
@pytest.mark.parametrize("value", ["%s", "[0.5, %s]"])
def test_params_are_finite_too(value: str, number: str) -> None:
    """A param that is sent is held to the same rule; the default of one that is not is the author's business."""
    shape = (-1,) if "[" in value else None
    specs = ParamSchema([ParamSpec("t", "double", [1.0] if shape else 1.0, shape), ParamSpec("most", "float", np.inf)])
    document = signature_document(columns_schema(("double", "a")), specs)
    body = b'{"inputs": {"a": [1.5]}, "params": {"t": %s}}' % (value % number).encode()
    rejection = outcome(Contract(document), body)
    assert isinstance(rejection, Rejected)
    assert rejection.rule == "finite"
    assert rejection.message.startswith("Param t has ")
    fed = outcome(Contract(document, frozenset({"non_finite"})), body)
    assert isinstance(fed, ModelInput)
    assert not np.isfinite(fed.params["t"]).all()
    assert fed.params["most"] == np.inf


@pytest.mark.parametrize("others", [[], [None], ["value"], ["value", None]])
@pytest.mark.parametrize(
    ("type_", "value", "is_served"),
    [
        ("double", 1.5, True),
        ("float", 1.5, True),
        ("float", 2, True),
        ("long", 2, False),
        ("integer", 2, False),
        ("boolean", True, True),
        ("string", "1.5", True),
        ("datetime", "2020-01-02", True),
        ("binary", "MS41", True),
    ],
)
def test_a_null_is_served_or_refused_whatever_its_neighbours_are(
    type_: str, value: Any, others: list[Any], *, is_served: bool
) -> None:
    """A null in an optional column is NaN for the model, or refused for its type, as MLflow refuses it."""
    values = [None, *(value if other == "value" else other for other in others)]
    result = outcome(signature(("double", "r"), (type_, "o", False)), columns(r=[0.5] * len(values), o=values))
    assert isinstance(result, ModelInput) is is_served
    if isinstance(result, ModelInput):
        assert isinstance(result.inputs, np.ndarray)
        assert np.isnan(result.inputs).tolist() == [[False, other is None] for other in values]


NAMED = Schema([TensorSpec(np.dtype("float32"), (-1,), "a")])


@pytest.mark.parametrize(
    ("allow", "body", "expected"),
    [
        ("extra_columns", columns(a=[1.5], b=["x"]), [1.5]),
        ("extra_columns", b'{"dataframe_split": {"columns": ["b", "a"], "data": [["x", 1.5]]}}', [1.5]),
        ("extra_columns", columns(b=[1.5]), "Model is missing inputs ['a']. Note that there were extra inputs: ['b']."),
        ("non_finite", b'{"inputs": {"a": [NaN, Infinity]}}', [np.nan, np.inf]),
        ("empty", columns(a=[]), []),
        ("mixed_types", columns(a=[1.5, True]), [1.5, 1.0]),
        ("mixed_types", columns(a=[1.5, "2"]), "dtype of input"),
    ],
)
def test_words_hold_for_tensors_too(allow: str, body: bytes, expected: Any) -> None:
    """Tensors are let through by the same words, as long as nothing is lost."""
    assert isinstance(outcome(Contract(signature_document(NAMED)), body), Rejected)
    fed = outcome(Contract(signature_document(NAMED), frozenset([allow])), body)
    if isinstance(expected, str):
        assert isinstance(fed, Rejected)
        assert fed.message.startswith(expected)
        return
    assert isinstance(fed, ModelInput), fed.message
    assert isinstance(fed.inputs, dict)
    np.testing.assert_array_equal(fed.inputs["a"], np.array(expected, np.float32))


def test_every_problem_is_listed_up_to_twenty() -> None:
    """A rejection lists at most 20 violations with row, column, rule, expected and got, and counts the rest."""
    rejection = outcome(signature(("double", "a")), columns(a=["x"] * 50))
    assert isinstance(rejection, Rejected)
    body = rejection.document(model="iris", version="3")
    assert body["code"] == 400
    assert body["type"] == "MlflowException"
    assert body["message"] == f"{UNSAFE} str to float64."
    assert body["errors"] == [
        {"row": row, "column": "a", "rule": "type", "expected": "double", "got": "string"}
        for row in range(MAX_VIOLATIONS)
    ]
    assert body["more_errors"] == 30
    assert (body["model"], body["version"]) == ("iris", "3")


SIGNATURES = {
    "doubles": columns_schema(("double", "a"), ("double", "b")),
    "mixed": columns_schema(*((kind, kind, index % 2 == 0) for index, kind in enumerate(drawn.TYPES))),
    "unnamed": columns_schema(("double", None), ("long", None)),
    "tensor": Schema([TensorSpec(np.dtype("float32"), (-1, 2))]),
    "named tensors": Schema([TensorSpec(np.dtype("int64"), (-1,), "a"), TensorSpec(np.dtype("bool"), (-1, 1), "b")]),
    "one named tensor": Schema([TensorSpec(np.dtype("float64"), (-1, 2), "a")]),
}
PARAMS = ParamSchema(
    [
        ParamSpec("t", "double", 1.0),
        ParamSpec("when", "datetime", np.datetime64("2020-01-01")),
        ParamSpec("l", "long", [1], (-1,)),
    ]
)

_names = st.sampled_from(["a", "b", "double", "long", "t", "data", "columns", "index", "params", "inputs", "instances"])
_json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_names, inner, max_size=3)),
    max_leaves=8,
)
_documents = st.one_of(
    _json_values,
    st.dictionaries(
        st.sampled_from(["data", "dataframe_split", "dataframe_records", "instances", "inputs", "params"]),
        st.one_of(_json_values, st.dictionaries(_names, _json_values, max_size=4), st.builds(json.dumps, _json_values)),
        min_size=1,
        max_size=2,
    ),
    st.fixed_dictionaries(
        {
            "dataframe_split": st.fixed_dictionaries(
                {"data": _json_values}, optional={"columns": _json_values, "index": _json_values}
            )
        }
    ),
    st.fixed_dictionaries({"inputs": _json_values, "params": st.dictionaries(_names, _json_values, max_size=3)}),
)


@given(document=_documents, name=st.sampled_from(sorted(SIGNATURES)), has_params=st.booleans())
def test_any_json_is_fed_or_refused(document: Any, name: str, *, has_params: bool) -> None:
    """Whatever JSON comes for whatever signature, it is fed or refused; nothing else is ever raised."""
    contract = Contract(signature_document(SIGNATURES[name], PARAMS if has_params else None))
    result = outcome(contract, json.dumps(document).encode())
    event(f"{name}: {type(result).__name__}")
    if isinstance(result, Rejected):
        assert result.violations
        json.dumps(result.document(), allow_nan=False)


@given(
    text=st.one_of(
        st.text(st.sampled_from("ab,\n\"'1.5;\t\r\x00 é"), max_size=40),
        st.builds(lambda rows: "a,b\n" + "\n".join(rows), st.lists(st.text('1.,"e-nTxy', max_size=8), max_size=4)),
    ),
    name=st.sampled_from(sorted(SIGNATURES)),
)
def test_any_csv_is_fed_or_refused(text: str, name: str) -> None:
    """Whatever text comes as CSV, it is fed or refused."""
    outcome(Contract(signature_document(SIGNATURES[name])), text.encode(), "text/csv")


NASTY = {
    "nothing": b"",
    "blank": b" \n",
    "NUL": b"\x00",
    "half a document": b'{"inputs": ',
    "two documents": b"{} {}",
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "deep and closed": b'{"inputs": ' + b"[" * 900 + b"1.5" + b"]" * 900 + b"}",
    "deeper than numpy": b'{"inputs": {"a": ' + b"[" * 70 + b"]" * 70 + b', "b": 1}}',
    "long number": b'{"inputs": {"a": [' + b"9" * 5000 + b'], "b": [1.5]}}',
    "UTF-8 with BOM": b'\xef\xbb\xbf{"inputs": {"a": [1.5], "b": [1.5]}}',
    "UTF-16": '{"inputs": {"a": [1.5], "b": [1.5]}}'.encode("utf-16"),
    "Latin-1": '{"é": 1}'.encode("latin-1"),
    "lone surrogate": b'{"\\ud800": 1.5}',
    "lone surrogate as value": b'{"inputs": {"a": ["\\udfff"], "b": [1.5]}}',
    "empty list": b"[]",
    "empty object": b"{}",
    "list of empty": b"[{}]",
    "null": b"null",
    "number": b"1.5",
    "string": b'"a"',
    "true": b"true",
    "ragged": b'{"inputs": [[1.5, 1.5], [1.5]]}',
    "ragged columns": b'{"inputs": {"a": [1.5, 2.5], "b": [1.5]}}',
    "ragged split": b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1.5, 2.5], [1.5]]}}',
    "twice the column": b'{"dataframe_split": {"columns": ["a", "a"], "data": [[1.5, 2.5]]}}',
    "no such split": b'{"dataframe_split": {"rows": []}}',
    "index of another length": b'{"dataframe_split": {"columns": ["a"], "data": [[1.5], [2.5]], "index": [1]}}',
    "two formats": b'{"inputs": [], "instances": []}',
    "data of no JSON": b'{"data": ["{"]}',
    "data of two widths": b'{"data": ["{\\"a\\": [1.5, 2.5], \\"b\\": 1.5}", "{\\"a\\": 1.5}"]}',
    "data nested in data": b'{"data": ["{\\"data\\": [\\"{}\\"]}"]}',
    "NaN": b'{"inputs": {"a": [NaN], "b": [1.5]}}',
    "Infinity": b'{"inputs": {"a": [-Infinity], "b": [1.5]}}',
    "1e400": b'{"inputs": {"a": [1e400], "b": [1.5]}}',
    "a huge whole number": b'{"inputs": {"a": [1%s], "b": [1.5]}}' % (b"0" * 400),
}


@pytest.mark.parametrize("name", SIGNATURES)
@pytest.mark.parametrize("body", NASTY.values(), ids=NASTY)
def test_nasty_bodies_are_refused(body: bytes, name: str) -> None:
    """None of these bodies is admitted by any signature, and each rejection can be written as JSON."""
    rejection = outcome(Contract(signature_document(SIGNATURES[name])), body)
    assert isinstance(rejection, Rejected)
    assert rejection.status == 400
    assert rejection.rule
    json.dumps(rejection.document(), allow_nan=False).encode()


NESTED = {
    "inputs": b'{"inputs": %s}',
    "instances": b'{"instances": %s}',
    "bare": b"%s",
    "a column": b'{"inputs": {"a": %s, "b": [1]}}',
    "a cell": b'{"dataframe_records": [{"a": %s, "b": 1}]}',
    "rows": b'{"dataframe_split": {"columns": ["a"], "data": %s}}',
    "column names": b'{"dataframe_split": {"columns": %s, "data": [[1]]}}',
    "records": b'{"dataframe_records": %s}',
    "the seed's": b'{"data": ["%s"]}',
    "beside the inputs": b'{"inputs": {"a": [1.5]}, "x": %s}',
    "params": b'{"inputs": {"a": 1.5, "b": 1.5}, "params": {"t": %s}}',
}


@pytest.mark.parametrize("name", SIGNATURES)
@pytest.mark.parametrize("place", NESTED)
def test_deep_nesting_is_refused(place: str, name: str) -> None:
    """Deeper than numpy counts, or as deep as Python and parsers recurse: each is a rejection and nothing else."""
    contract = Contract(signature_document(SIGNATURES[name], PARAMS))
    for depth in (31, 32, 33, 63, 64, 65, 200, *range(980, 1026, 3)):
        for start, leaf, end in ((b"[", b"", b"]"), (b"[", b"1.5", b"]"), (b'{"a":', b"1", b"}")):
            nested = start * depth + leaf + end * depth
            nested = nested.replace(b'"', b'\\"') if place == "the seed's" else nested
            rejection = outcome(contract, NESTED[place] % nested)
            assert isinstance(rejection, Rejected), depth
            assert rejection.rule


@pytest.mark.parametrize("cell", ["1" + "0" * 20, "-1" + "0" * 20, "9" * 400, "1e400", "18446744073709551616.5"])
@pytest.mark.parametrize("name", SIGNATURES)
def test_csv_of_huge_numbers_is_fed_or_refused(name: str, cell: str) -> None:
    """A number that no parser of ours can hold is for pandas to read."""
    contract = Contract(signature_document(SIGNATURES[name]))
    for text in (f"a,b\n{cell},1\n", f"a,b\n1,2\n1,{cell}\n", f"a\n{cell}\n"):
        outcome(contract, text.encode(), "text/csv")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ('{"data": [[1.5, 2.5]]}', f"{MISSING} Note that there were extra inputs: [0, 1]."),
        (f'{{"columns": [{10**30}, null], "data": [[1.5, 2.5]]}}', MISSING),
        ('{"columns": [["a"], ["b"]], "data": [[1.5, 2.5]]}', "Invalid input."),
        ('{"columns": ["a", "a"], "data": [[1.5, 2.5]]}', "The input has columns more than once: ['a']."),
        ('{"columns": ["a"], "data": [[1.5, 2.5]]}', "Invalid input. Provided dataframe_split field is not a valid"),
    ],
)
def test_odd_column_names_are_refused(split: str, message: str) -> None:
    """Names that JSON allows and a signature does not are listed, however odd they are."""
    rejection = outcome(signature(*TWO), b'{"dataframe_split": %s}' % split.encode())
    assert isinstance(rejection, Rejected)
    assert rejection.message.startswith(message)
    json.dumps(rejection.document(), allow_nan=False)


@pytest.mark.parametrize("depth", [10, 100, 900, 1010])
def test_deep_params_are_refused(depth: int) -> None:
    """Params nested deeply are refused, not a crash."""
    body = b'{"inputs": {"a": [1.5], "b": [1.5]}, "params": {"t": %s%s}}' % (b"[" * depth, b"]" * depth)
    rejection = outcome(Contract(signature_document(SIGNATURES["doubles"], PARAMS)), body)
    assert isinstance(rejection, Rejected)


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ("a,b\n1,x\n", "Failed to parse input as a Pandas DataFrame."),
        ("a,b\n1,\n", "Column b is required and has null in row 0: expected double."),
        ("a,b\n1\n", "Column b is required and has null in row 0: expected double."),
        ("a,b\n1,2,3\n", "The csv cannot be read as rows and columns: a row has more cells than the header."),
        ("a,b,c\n1,2,3\n", "Model has no inputs ['c']: extra inputs are refused."),
        ("a\n1\n", "Model is missing inputs ['b']."),
        ("a,b\n", "The input is empty"),
        ("a,b\ninf,1\n", "Column a has inf in row 0: expected a finite number."),
        ('a,b\n"1,2\n', "Failed to parse input as a Pandas DataFrame."),
        ("a,a\n1,2\n", "Model is missing inputs ['b']"),
    ],
)
def test_csv_is_refused_where_it_does_not_fit(csv: str, message: str) -> None:
    """CSV is read by the signature's types; a cell, a row or a header that does not fit is refused."""
    rejection = outcome(signature(*TWO), csv.encode(), "text/csv; charset=utf-8")
    assert isinstance(rejection, Rejected)
    assert rejection.message.startswith(message)


def test_fast_way_imports_neither_pandas_nor_mlflow() -> None:
    """A valid request is checked without pandas and MLflow, which cost a worker hundreds of megabytes."""
    program = """
import sys, json
from signet_contract import request, contract
spec = json.dumps([{"type": "double", "name": "a", "required": True}])
contract = contract.Contract({"inputs": spec, "outputs": None, "params": None})
assert contract.check(b'{"a": 1.5}').inputs.tolist() == [[1.5]]
assert not {"pandas", "mlflow", "torch", "ts"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_signature_is_loaded_from_an_mlmodel_file(tmp_path: Path) -> None:
    """`load` reads the signature of an MLmodel file, and says so where there is none."""
    path = tmp_path / "MLmodel"
    path.write_text(json.dumps({"flavors": {}, "signature": signature_document(columns_schema(*TWO))}))
    assert Contract.load(path).check(b'{"a": 1.5, "b": 2.5}').inputs.shape == (1, 2)
    path.write_text("flavors: {}")
    with pytest.raises(ValueError, match="has no signature with inputs"):
        Contract.load(path)


@pytest.mark.parametrize("name", [None, "a"])
def test_what_is_said_of_a_mixed_column_depends_on_its_texts(name: str | None) -> None:
    """MLflow would convert a text that is a number, so that a rejection of another text is not remembered for it."""
    schema = columns_schema(("double", name))
    contract = Contract(signature_document(schema))
    for text in ("a", ""):
        split = {"data": [[text], [0.5]], **({"columns": [name]} if name else {})}
        decoded = request.decode(json.dumps({"dataframe_split": split}).encode())
        slow = slowly(signature_document(schema), decoded)
        with pytest.raises(Rejected) as refused:
            contract.admit(decoded)
        assert isinstance(slow, Rejected)
        assert refused.value.message == slow.message
