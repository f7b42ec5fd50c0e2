from __future__ import annotations

import json
import math
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
def test_a_long_tensor_is_refused_as_the_whole(data: st.DataObject, spec: TensorSpec, name: str | None) -> None:
    """Message, first twenty violations and the number of the others are those of all values at once."""
    spec = TensorSpec(spec.type, spec.shape, name)
    content = data.draw(long_lists(spec))
    named = name and data.draw(st.booleans())
    source = RawBody(json.dumps({"inputs": {name: content} if named else content}).encode())
    inputs = signature_document(Schema([spec]))["inputs"]
    decoded = source.decode() if data.draw(st.booleans()) else source.unread()
    refused = None
    try:
        decision.read_whole({"inputs": inputs}, decoded, data.draw(drawn.allowances), least=64)
    except Rejected as rejection:
        refused = rejection.document()
    event("refused" if refused else "left to who looks at all")
    if refused is not None:
        with pytest.raises(Rejected) as caught:
            decision.decide({"inputs": inputs}, source.exact())
        whole = caught.value.document()
        if not str(whole["message"]).startswith("The input is not a regular array"):  # of which one place is told
            assert refused == whole


@pytest.mark.parametrize(
    ("dtype", "wrong", "count"),
    [("float32", "x", 30), ("float32", None, 30), ("float32", 1e39, 30), ("int8", 128, 30), ("int8", 1.5, 30),
     ("bool", 1, 400), ("float32", {}, 30), ("float64", True, 30)],
)  # fmt: skip
def test_the_first_unfit_values_are_told_and_the_others_counted(dtype: str, wrong: Any, count: int) -> None:
    """With the row of each, whatever stands between them."""
    values = [wrong if row % 13 == 1 and row < 390 else 1 for row in range(400)]
    text = json.dumps(values).encode()
    found = tensor_values.ChunkedValues(np.dtype(dtype), ChunkedList(text, 1, len(text) - 1, 64, []))
    assert found.unfit_count == count
    rows = range(20) if count == 400 else range(1, 261, 13)
    assert found.unfit == [(row, values[row]) for row in rows]
    assert found.shape == (400,)


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
    found = tensor_values.ChunkedValues(np.dtype("float32"), ChunkedList(text, 1, len(text) - 1, 64, []))
    unfit = [(place // width, value) for place, value in enumerate(values) if type(value) is not float]
    infinite = [
        place // width for place, value in enumerate(values) if type(value) is float and not math.isfinite(value)
    ]
    assert (found.unfit, found.unfit_count) == (unfit[:20], len(unfit))
    assert ([row for row, _ in found.non_finite], found.non_finite_count) == (infinite[:20], len(infinite))


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
        tensor_values.ChunkedValues(np.dtype("float32"), ChunkedList(text, 1, len(text) - 1, 64, []))
