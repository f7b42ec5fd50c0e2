from __future__ import annotations

import json
from typing import Any

import pytest
import requests_drawn as drawn
from fast_and_slow import hold_to_the_slow_way
from hypothesis import given
from hypothesis import strategies as st
from mlflow.types import ParamSchema, ParamSpec
from signet_contract.fastpath.params import Params
from signet_contract.request import decode

from testing.oracle import columns_schema

SPECS = json.loads(
    ParamSchema([ParamSpec("t", "double", 1), ParamSpec("k", "long", 3), ParamSpec("words", "string", ["a"], (-1,))])
    .to_json()
)  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "params"),
    [
        (None, {"t": 1.0, "k": 3, "words": ["a"]}),
        ({}, {"t": 1.0, "k": 3, "words": ["a"]}),
        ({"k": 4, "other": 5}, {"k": 4, "t": 1.0, "words": ["a"]}),
        ({"words": [], "t": 2}, {"words": [], "t": 2.0, "k": 3}),
        ({"k": 4.0}, None),
        ({"k": True}, None),
        ({"k": None}, None),
        ({"k": [4]}, None),
        ({"t": "2"}, None),
        ({"t": 2**53}, None),
        ({"words": "a"}, None),
        ({"words": ["a", 1]}, None),
        ([], None),
        ("t", None),
    ],
)
def test_params_are_those_sent_and_then_defaults(sent: Any, params: Any) -> None:
    """Params that plainly fit are given in the order they came, the others' defaults after them."""
    read = Params(SPECS).read(sent)
    assert repr(read) == repr(params)


@pytest.mark.parametrize("type_", ["double", "long", "boolean"])
@pytest.mark.parametrize(
    "item", ["1", "1.5", "1,1.5", "1,1.0", "true", "NaN", "9007199254740992", "[1]", "-0", "1e400", "null"]
)
def test_a_long_list_is_read_as_a_short_one(type_: str, item: str) -> None:
    """Whether it was read into an array or not."""
    body = f'{{"inputs": {{"a": [1.5]}}, "params": {{"p": [{",".join([item] * 2000)}]}}}}'.encode()
    params = Params(json.loads(ParamSchema([ParamSpec("p", type_, [type_ == "boolean" or 1], (-1,))]).to_json()))
    as_list, read = json.loads(body)["params"], decode(body).params
    assert repr(params.read(read)) == repr(params.read(as_list))


@pytest.mark.parametrize(
    ("type_", "default", "shape"),
    [("datetime", "2020-01-01", None), ("object", {}, None), ("double", None, None), ("long", [[1]], [-1, -1])],
)
def test_rarer_params_are_for_the_slow_way(type_: str, default: Any, shape: Any) -> None:
    """A signature with a date or an object among its params is not known here, or one with no default."""
    assert not Params.can_read([{"name": "a", "type": type_, "default": default, "shape": shape}])


def test_params_that_no_signature_has_are_dropped() -> None:
    """Without params in the signature, whatever is sent is none."""
    assert Params([]).read("anything") == {}


@given(st.data())
def test_fast_way_gives_params_as_the_slow_way_does(data: st.DataObject) -> None:
    """Likewise params, sent or not."""
    specs = data.draw(drawn.param_schemas())
    document = {"inputs": {"a": [1.5]}} | data.draw(drawn.sent_params(specs))
    hold_to_the_slow_way(columns_schema(("double", "a")), json.dumps(document).encode(), params=specs)
