from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from mlflow.types import Schema, TensorSpec
from signet_contract.bulk import large_json
from signet_contract.bulk.numbers import Numbers
from signet_contract.bulk.tables import Table
from signet_contract.contract import Contract
from signet_contract.request import decode

from testing.oracle import columns_schema, signature_document

_floats = st.floats()  # NaN and Infinity are written as Python writes them
_scalars = st.one_of(_floats, st.integers(-(10**20), 10**20), st.none(), st.booleans(), st.text(max_size=3))
_names = st.one_of(st.text(max_size=4), st.sampled_from(["0", "1", "10", "data", '{"":0}']))


@st.composite
def _lists(draw: st.DrawFn) -> Any:
    """Long lists of numbers, of lists of them, or of records, or numbers by label; one of them may be odd."""
    width = draw(st.integers(0, 3))
    kinds = [draw(st.sampled_from([_floats, _floats, st.integers(-9, 9), st.booleans()])) for _ in range(width or 1)]
    rows = [[draw(kind) for kind in kinds] for _ in range(3)] * draw(st.sampled_from([1, 100]))
    if draw(st.booleans()):
        rows[draw(st.integers(0, len(rows) - 1))] = [draw(_scalars) for _ in range(draw(st.integers(0, 4)))] or [1]
    if width:
        names = draw(st.lists(_names, min_size=4, max_size=4, unique=True))
        return [dict(zip(names, row, strict=False)) for row in rows] if draw(st.booleans()) else rows
    items = [row[0] for row in rows]
    start = draw(st.sampled_from([0, 9, -1]))
    return {str(start + row): item for row, item in enumerate(items)} if draw(st.booleans()) else items


_values = st.recursive(
    st.one_of(_scalars, _lists(), _lists()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_names, inner, max_size=3)),
    max_leaves=8,
)


def plain(document: Any) -> Any:
    """The document with lists and dicts in place of what was read into arrays, as far as kinds are known."""
    if isinstance(document, Table):
        return [dict(zip(document.names, row, strict=True)) for row in plain(document.rows)]
    if isinstance(document, Numbers):
        items = [item for block in document.blocks for item in _items(block, document)]
        if document.labels is None:
            return items
        return {str(int(label)): item for label, item in zip(document.labels, items, strict=True)}
    if isinstance(document, dict):
        return {name: plain(value) for name, value in document.items()}
    return [plain(item) for item in document] if isinstance(document, list) else document


def _items(block: Any, numbers: Numbers) -> list[Any]:
    assert block.dtype == np.float64
    columns = [[_typed(value, kinds) for value in block[:, index]] for index, kinds in enumerate(numbers.kinds)]
    return [np.array(row, dtype=object).reshape(numbers.shape).tolist() for row in zip(*columns, strict=True)]


def _typed(value: float, kinds: frozenset[type]) -> Any:
    if np.isnan(value):  # which is not equal to itself
        return None
    (kind,) = kinds if len(kinds) == 1 else (float,)
    return kind(value)


def alike(document: Any, other: Any) -> Any:
    """Compares with 1 and 1.0 told apart, but where kinds are mixed."""
    return repr(document) == repr(other)


@given(document=_values, indent=st.sampled_from([None, None, 1]), ascii_only=st.booleans(), blanks=st.booleans())
def test_what_is_read_is_what_is_written(document: Any, *, indent: int | None, ascii_only: bool, blanks: bool) -> None:
    """Whatever JSON comes, it is read as the ordinary parser reads it, or not at all."""
    separators = None if blanks else (",", ":")
    body = json.dumps(document, indent=indent, ensure_ascii=ascii_only, separators=separators).encode()
    try:
        read = large_json.loads(body)
    except ValueError:
        event("not read")
        return
    event("read")
    written = json.loads(body, parse_constant=lambda word: None if word == "NaN" else float(word))
    assert plain(read) == written
    if not any_mixed(read):
        assert repr(plain(read)) == repr(written)


def any_mixed(node: Any) -> bool:
    """Whether integers and floats stand in one column somewhere."""
    if isinstance(node, Table):
        return any_mixed(node.rows)
    if isinstance(node, Numbers):
        return any(len(kinds) > 1 for kinds in node.kinds)
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return any(map(any_mixed, children))


LONG = [0.5, 1.5, -2.5, 1e-7 + 3.5, 4.5, 5.5] * 40


@pytest.mark.parametrize("value", ["1.5", None, [1.5], {}, 10**30])
@pytest.mark.parametrize("place", range(6))
def test_one_value_that_is_no_number_is_found(value: Any, place: int) -> None:
    """Among floats one that is none is seen, wherever it stands, and so is a row that is too long or too short."""
    values: list[Any] = list(LONG)
    values[place - 3] = value
    table = [values[start : start + 2] for start in range(0, len(values), 2)]
    for document in ({"data": table}, {"data": values}, table, dict(enumerate(values))):
        with pytest.raises(ValueError, match=r"."):
            large_json.loads(json.dumps(document).encode())


@pytest.mark.parametrize("long", [LONG, [{"a": 1.5}] * 99, dict(enumerate(LONG))], ids=["list", "records", "labelled"])
@pytest.mark.parametrize(
    "around", ['["x", %s]', '{"a": {"b": {"c": %s}}}', '{"a": ["x", %s]}', '{"a": {"b": ["x", %s]}}']
)
def test_a_long_list_is_read_only_where_it_is_looked_for(long: Any, around: str) -> None:
    """At the top and two objects deep; further in, who looks at the value must find an ordinary list."""
    with pytest.raises(ValueError, match=r"."):
        large_json.loads((around % json.dumps(long, separators=(",", ":"))).encode())
    large_json.loads(json.dumps({"a": {"b": long}}, separators=(",", ":")).encode())


@pytest.mark.parametrize(
    ("first", "other", "kinds"),
    [("1.5", "2", {int, float}), ("1", "1.5", {int, float}), ("1", "2", {int}), ("1.5", "1e-5", {int, float}),
     ("1.5", "1.0e-5", {float}), ("true", "false", {bool}), ("-0", "0", {int}), ("-0.0", "0.5", {float})],
)  # fmt: skip
def test_kinds_are_those_of_all_items(first: str, other: str, kinds: set[type]) -> None:
    """What JSON types the numbers of a column are of is told, whichever row they stand in, or that it may be both."""
    for column in (0, 1):
        rows = [["0.5", "0.5"] for _ in range(99)]
        for row in rows:
            row[column] = first
        rows[50][column] = other
        lists = ",".join(f"[{a},{b}]" for a, b in rows)
        records = ",".join(f'{{"a":{a},"b":{b}}}' for a, b in rows)
        for read in (large_json.loads(f"[{lists}]".encode()), large_json.loads(f"[{records}]".encode()).rows):
            assert read.kinds[column] == kinds
            assert float in read.kinds[1 - column]


def test_booleans_stay_booleans_where_numbers_are_mixed() -> None:
    """A column of booleans is none of numbers, whatever its neighbours are."""
    records = [{"a": True, "b": 1, "c": 1.5}] * 99 + [{"a": False, "b": 0.5, "c": 2}]
    rows = large_json.loads(json.dumps(records).encode()).rows
    assert rows.kinds == [{bool}, {int, float}, {int, float}]


def _rows(item: str, more: str = "") -> bytes:
    return f'{{"a": [{",".join([item] * 200)}{more}]}}'.encode()


@pytest.mark.parametrize(
    "body",
    [
        _rows("[1.5,2.5]", ",[3.5]"),
        _rows("[1.5,2.5]", ",[1.5,2.5,3.5]"),
        _rows("[1.5,2.5]", ",[1.5,[2.5]]"),
        _rows("[1.5,2.5]", "]"),
        _rows("[1.5,2.5]") + b" x",
        _rows("1.5", ",-NaN"),
        _rows("1.5", ",1NaN"),
        _rows("1.5", ",5-Infinity"),
        _rows("1.5", ",1."),
        _rows("1.5", ",1 2.5"),
        _rows("true", ",1true"),
        _rows("true", ",true5"),
        _rows("true", ",treu"),
        _rows("[1]", ",[]"),
        _rows("1", ",01"),
        _rows("1.5", ","),
        _rows('{"a":1.5}', ',{"b":1.5}'),
        _rows('{"a":1.5}', ',{"a":1.5,"b":2.5}'),
        _rows('{"a":1.5}', ",{}"),
        _rows('{"a":1.5}', ',{"a":1.5},'),
        _rows('{"a":1.5}')[:-1] + b',"b":""}',
        _rows("1.5").replace(b'"a"', b'"\xff"'),
        _rows("1.5").replace(b'"a"', b'"\\u0061"'),
        b'{"a":"' + _rows("1.5")[6:-1] + b'"}',
        b'{"a":{"0":1.5,' + b",".join(b'"%d":1.5' % row for row in range(200)) + b"}}",
        b'{"a":{"0":1.5,' + b",".join(b'"%d" :1.5' % row for row in range(1, 200)) + b"}}",
        b'{"a":{"0":1.5,' + b",".join(b'" %d":1.5' % row for row in range(1, 200)) + b"}}",
        b'{"a":{"0":1.5,' + b",".join(b'"0%d":1.5' % row for row in range(1, 200)) + b"}}",
        b'{"a":{"0":1.5,' + b",".join(b'"%de0":1.5' % row for row in range(1, 200)) + b"}}",
        b"[" * 100_000,
        b'{"0":' * 100_000,
        b"",
    ],
)
def test_what_is_not_sure_is_not_read(body: bytes) -> None:
    """Ragged rows, names that come twice or are unusual, and what is no JSON are left to the ordinary parser."""
    with pytest.raises(ValueError, match=r"."):
        large_json.loads(body)


def test_lists_become_arrays() -> None:
    """Lists of floats are arrays of their shape, names stay lists, and records are tables in any order of names."""
    rows = [[1.5, -0.0], [1.5e-30, 2.25]] * 50
    split = large_json.loads(orjson.dumps({"dataframe_split": {"columns": ["a.b", "é1"], "data": rows}}))
    assert split["dataframe_split"]["columns"] == ["a.b", "é1"]
    assert repr(plain(split["dataframe_split"]["data"])) == repr(rows)
    records = [{"a": 1, "b": True}, {"b": False, "a": 2}] * 50
    table = large_json.loads(orjson.dumps(records))
    assert table.names == ["a", "b"]
    assert table.rows.kinds == [{int}, {bool}]
    assert plain(table) == records


@pytest.mark.parametrize("key", ["dataframe_split", "inputs", "columns", "tensor", "named tensors"])
def test_large_bodies_are_decided_on_the_fast_path(key: str) -> None:
    """Tables that are read into arrays need no enforcement; their columns come in the signature's order."""
    values = np.random.default_rng(1).random((5000, 2))
    schema = columns_schema(("double", "a"), ("float", "b"))
    split = {"columns": ["b", "a"], "data": values[:, ::-1].tolist()}
    columns = {"b": values[:, 1].tolist(), "a": values[:, 0].tolist()}
    bodies = {"dataframe_split": {key: split}, "inputs": {key: columns}, "columns": columns}
    if "tensor" in key:
        spec = TensorSpec(np.dtype("float32"), (-1, 2), "t" if "named" in key else None)
        schema, bodies[key] = Schema([spec]), {"inputs": {"t": values.tolist()} if "named" in key else values.tolist()}
    model_input = Contract(signature_document(schema)).fast_path(decode(orjson.dumps(bodies[key])))
    assert model_input is not None
    inputs = model_input.inputs["t"] if isinstance(model_input.inputs, dict) else model_input.inputs
    np.testing.assert_array_equal(inputs, values.astype(np.float32))
    assert inputs.dtype == np.float32
