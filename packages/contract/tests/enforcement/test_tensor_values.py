from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import requests_drawn as drawn
from hypothesis import event, given
from hypothesis import strategies as st
from mlflow.types import Schema, TensorSpec
from signet_contract.bulk.chunked_lists import ChunkedList
from signet_contract.enforcement import decision, tensor_values
from signet_contract.errors import Rejected
from signet_contract.request import RawBody

from testing.oracle import signature_document


@st.composite
def long_lists(draw: st.DrawFn, spec: TensorSpec) -> list[Any]:
    """Many items of a few kinds, perhaps with some that differ, and perhaps with values of any kind in them."""
    some = draw(st.lists(drawn.nested_lists(spec), min_size=1, max_size=2))
    items = [item for each in some if isinstance(each, list) for item in each] or [1.5]
    content = items * (400 // len(items))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        start, step = draw(st.integers(0, len(content) - 1)), draw(st.sampled_from([1, 7, 300]))
        odd = _with(content[start], draw(drawn.anything))
        content[start::step] = [odd] * len(content[start::step])
    return content


def _with(item: Any, value: Any) -> Any:
    """The item with another first leaf."""
    return [_with(item[0], value), *item[1:]] if isinstance(item, list) and item else value


@given(data=st.data(), spec=drawn.tensor_specs(), name=st.sampled_from([None, "t"]))
def test_a_long_tensor_is_refused_as_its_first_items(data: st.DataObject, spec: TensorSpec, name: str | None) -> None:
    """What is said of it is what is said of all items up to where a chunk ends, but for the number of its items."""
    spec = TensorSpec(spec.type, spec.shape, name)
    content = data.draw(long_lists(spec))
    named = name and data.draw(st.booleans())

    def body(items: list[Any]) -> RawBody:
        return RawBody(json.dumps({"inputs": {name: items} if named else items}).encode())

    source = body(content)
    inputs = signature_document(Schema([spec]))["inputs"]
    decoded = source.decode() if data.draw(st.booleans()) else source.unread()
    refused = None
    try:
        decision.read_whole({"inputs": inputs}, decoded, data.draw(drawn.allowances), least=64)
    except Rejected as rejection:
        refused = rejection.document()
    event("refused" if refused else "left to who looks at all")
    if refused is None:
        return
    with pytest.raises(Rejected) as caught:
        decision.decide({"inputs": inputs}, source.exact())
    whole = caught.value.document()
    if refused == whole or str(refused["message"]).startswith("The input is not a regular array"):
        return  # of an irregular array one place is told
    event("refused for its first items")
    assert refused in [
        _with_rows(said, len(content)) for said in _said_of_firsts(inputs, source, lambda end: body(content[:end]))
    ]


def _said_of_firsts(inputs: Any, source: RawBody, first: Callable[[int], RawBody]) -> Iterator[dict[str, Any]]:
    """What is said of as many first items as each of the long list's first chunks has."""
    found: Any = source.chunked(64).content
    found = next(iter(found.values())) if isinstance(found, dict) else found
    for start, chunk in found.chunks():
        try:
            decision.decide({"inputs": inputs}, first(start + len(chunk)).exact())
        except Rejected as rejection:
            yield rejection.document()


def _with_rows(document: dict[str, Any], rows: int) -> dict[str, Any]:
    """The document with another number of items in the shape that it tells."""
    said: dict[str, Any] = json.loads(
        re.sub(r"Shape of input \([0-9]+", f"Shape of input ({rows}", json.dumps(document))
    )
    return said


WRONG = [("float32", "x"), ("float32", None), ("float32", 1e39), ("int8", 128), ("int8", 1.5), ("bool", 1),
         ("float32", {}), ("float64", True)]  # fmt: skip


@pytest.mark.parametrize(("dtype", "wrong"), WRONG)
@pytest.mark.parametrize("right", [1, 300])
def test_what_follows_a_wrong_value_is_only_counted(dtype: str, wrong: Any, right: int) -> None:
    """All wrong values of its chunk are, and the first of them have their rows; the shape is that of all items."""
    values = [*[{"bool": True, "int8": 1}.get(dtype, 1.5)] * right, *[wrong] * 40_000]
    text = json.dumps(values).encode()
    rows = ChunkedList(text, 1, len(text) - 1, 64, [])
    (in_chunk,) = [chunk for start, chunk in rows.chunks() if start <= right < start + len(chunk)]
    found = tensor_values.ChunkedValues(np.dtype(dtype), (), ChunkedList(text, 1, len(text) - 1, 64, []))
    assert found.unfit_count == list(map(repr, in_chunk)).count(repr(wrong))
    assert found.unfit == [(row, values[row]) for row in range(right, right + min(found.unfit_count, 20))]
    assert found.shape == (len(values),)


ENDS = [2**bits + near for bits in (7, 8, 15, 16, 31, 32, 53) for near in (-1, 0, 1)]
INTEGERS = [0, 1, 65519, 65520, *ENDS, *(-end for end in ENDS), 2**63 - 1, -(2**63)]
FLOATS = [
    *map(float, INTEGERS),
    0.5,
    -0.5,
    1e39,
    2.0**63,
    2.0**64,
    3.4028235677973366e38,
    math.inf,
    -math.inf,
    math.nan,
]


@pytest.mark.parametrize("dtype", [*"bhilBHILefdFD"])
@pytest.mark.parametrize("values", [INTEGERS, FLOATS, [1.0, 2.0]], ids=["integers", "floats", "right"])
def test_values_in_an_array_fit_as_each_of_them(dtype: str, values: list[float]) -> None:
    """Up to where a type ends, and not beyond."""
    fits = (tensor_values._fitting(np.dtype(dtype)) or {})[type(values[0])]
    assert tensor_values.unfit(np.dtype(dtype), values) == [
        place for place, value in enumerate(values) if not fits(value)
    ]


@pytest.mark.parametrize("width", [1, 2, 3, 300])
def test_values_of_rows_are_told_in_the_order_they_came(width: int) -> None:
    """Whichever places of the rows they have, and whatever their types."""
    some = [1.5, "x", None, float("nan"), 1.5, 1.5, float("inf"), {}, 1.5, 1.5, 1.5]
    values = [some[place % len(some)] for place in range(900)]
    text = json.dumps(np.array(values, object).reshape(-1, width).tolist()).encode()
    all_in_one_chunk = ChunkedList(text, 1, len(text) - 1, len(text), [])
    found = tensor_values.ChunkedValues(np.dtype("float32"), (width,), all_in_one_chunk)
    unfit = [(place // width, value) for place, value in enumerate(values) if type(value) is not float]
    infinite = [
        place // width for place, value in enumerate(values) if type(value) is float and not math.isfinite(value)
    ]
    assert (found.unfit, found.unfit_count) == (unfit[:20], len(unfit))
    assert ([row for row, _ in found.non_finite], found.non_finite_count) == (infinite[:20], len(infinite))


@pytest.mark.parametrize(("items", "asked"), [([[1.5, 2.5]], (3,)), ([[]], (1,)), ([1.5], (1,)), ([[[1]]], (-1,))])
def test_what_follows_an_item_of_a_wrong_shape_is_only_counted(items: list[Any], asked: tuple[int, ...]) -> None:
    """The shape is that of all items."""
    text = json.dumps([*items * 5_000, "not looked at"]).encode()
    found = tensor_values.ChunkedValues(np.dtype("float32"), asked, ChunkedList(text, 1, len(text) - 1, 64, []))
    assert found.shape == (5_001, *np.shape(items)[1:])
    assert not found.unfit


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ([1], "some lists at depth 2 have 1 items, and others 2"),
        ([1, [2]], "some items at depth 3 are lists, and some are not"),
        (1, "some items at depth 2 are lists, and some are not"),
        ([[1], [2, 2]], "some items at depth 3 are lists, and some are not"),
    ],
)
def test_a_long_list_is_no_array_by_one_item(odd: Any, message: str) -> None:
    """Wherever that is; the other items are like the first."""
    text = json.dumps([*[[1, 2]] * 300, odd]).encode()
    with pytest.raises(tensor_values.Ragged, match=message):
        tensor_values.ChunkedValues(np.dtype("float32"), (2,), ChunkedList(text, 1, len(text) - 1, 64, []))


@pytest.mark.parametrize("first", [[1.5] * 200_000, ["x" * 200_000, *[1] * 200_000]], ids=["numbers", "a text"])
@pytest.mark.parametrize("shape", [(-1, 4), (-1, -1)])
def test_a_huge_first_item_is_not_multiplied(first: list[Any], shape: tuple[int, ...]) -> None:
    """An array of as many such items as there are would take terabytes: the list is looked through until it differs."""
    body = RawBody(json.dumps({"inputs": [first, *[[1]] * 200_000]}).encode())
    inputs = signature_document(Schema([TensorSpec(np.dtype("float32"), shape)]))["inputs"]
    with pytest.raises(Rejected, match="not a regular array: some lists at depth 2 have 1 items"):
        decision.read_whole({"inputs": inputs}, body.unread())
