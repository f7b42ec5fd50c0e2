from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.types import Schema, TensorSpec
from oracle import columns_schema, signature_document
from signet_torchserve import numbers
from signet_torchserve.payload import decode
from signet_torchserve.signature import Signature

_floats = st.floats(allow_nan=False, allow_infinity=False)
_scalars = st.one_of(_floats, st.integers(-(10**20), 10**20), st.none(), st.booleans(), st.text(max_size=3))
_tables = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(_floats, min_size=width, max_size=width), min_size=1, max_size=4)
)
_values = st.recursive(
    st.one_of(_scalars, _tables, st.lists(_floats)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=8,
)


def plain(document: Any) -> Any:
    """The document with lists in place of arrays, each of which holds floats only."""
    if isinstance(document, np.ndarray):
        assert document.dtype == np.float64
        return document.tolist()
    if isinstance(document, dict):
        return {name: plain(value) for name, value in document.items()}
    return [plain(item) for item in document] if isinstance(document, list) else document


def typed(document: Any) -> str:
    """Text in which 1 and 1.0 differ, and 0.0 and -0.0."""
    return repr(document)


@given(document=_values, spaces=st.booleans(), ascii_only=st.booleans())
def test_what_is_read_is_what_is_written(document: Any, *, spaces: bool, ascii_only: bool) -> None:
    """Whatever JSON comes, it is read as the ordinary parser reads it, or not at all."""
    body = json.dumps(document, indent=1 if spaces else None, ensure_ascii=ascii_only).encode()
    try:
        read = numbers.loads(body)
    except ValueError:
        return
    assert typed(plain(read)) == typed(json.loads(body))


@pytest.mark.parametrize("value", [1, "1.5", None, True, [1.5], {}, 1e400])
@pytest.mark.parametrize("place", range(6))
def test_one_value_that_is_no_float_is_found(value: Any, place: int) -> None:
    """Among floats one that is none is seen, wherever it stands, and so is a row that is too long or too short."""
    values: list[Any] = [0.5, 1.5, -2.5, 1e-7 + 3.5, 4.5, 5.5]
    values[place] = value
    table = [values[:2], values[2:4], values[4:]]
    for document in ({"data": table}, {"data": values}, table):
        with pytest.raises(ValueError, match=r"."):
            numbers.loads(json.dumps(document).encode())


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": [[1.5, 2.5], [3.5]]}',
        b'{"a": [[1.5, 2.5, 3.5], [4.5]]}',
        b'{"a": [1.5], "a": [2.5]}',
        b'{"a": [1.5}',
        b'{"a": [1.5]} x',
        b'{"a": [1.5, NaN]}',
        b'{"a": [1.]}',
        b'{"a": ["\xff"]}',
        b"",
    ],
)
def test_what_is_no_table_is_not_read(body: bytes) -> None:
    """Ragged rows, names that come twice and what is no JSON at all are left to the ordinary parser."""
    with pytest.raises(ValueError, match=r"."):
        numbers.loads(body)


def test_tables_become_arrays() -> None:
    """Lists of floats are arrays of their shape, names stay lists."""
    document = {"dataframe_split": {"columns": ["a.b", "é1"], "data": [[1.5, -0.0], [1.5e-300, 2.25]]}}
    read = numbers.loads(orjson.dumps(document))
    assert read["dataframe_split"]["columns"] == ["a.b", "é1"]
    np.testing.assert_array_equal(read["dataframe_split"]["data"], [[1.5, -0.0], [1.5e-300, 2.25]])


def test_objects_of_many_members_are_left_to_the_ordinary_parser() -> None:
    """To find each of a hundred thousand members by looking through all would take minutes."""
    with pytest.raises(ValueError, match="more than 64 names"):
        numbers.loads(orjson.dumps({"a": {str(row): 1.5 for row in range(100_000)}}))


@pytest.mark.parametrize("key", ["dataframe_split", "inputs", "columns", "tensor", "named tensors"])
def test_large_bodies_are_surely_valid(key: str) -> None:
    """Tables that are read into arrays are fed without a verdict, column by column in the signature's order."""
    values = np.random.default_rng(1).random((5000, 2))
    schema = columns_schema(("double", "a"), ("float", "b"))
    split = {"columns": ["b", "a"], "data": values[:, ::-1].tolist()}
    columns = {"b": values[:, 1].tolist(), "a": values[:, 0].tolist()}
    bodies = {"dataframe_split": {key: split}, "inputs": {key: columns}, "columns": columns}
    if "tensor" in key:
        spec = TensorSpec(np.dtype("float32"), (-1, 2), "t" if "named" in key else None)
        schema, bodies[key] = Schema([spec]), {"inputs": {"t": values.tolist()} if "named" in key else values.tolist()}
    feed = Signature(signature_document(schema)).surely_valid(decode(orjson.dumps(bodies[key])))
    assert feed is not None
    inputs = feed.inputs["t"] if isinstance(feed.inputs, dict) else feed.inputs
    np.testing.assert_array_equal(inputs, values.astype(np.float32))
    assert inputs.dtype == np.float32
