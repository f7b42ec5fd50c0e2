from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signet_contract.bulk import large_json, typed_numbers
from signet_contract.bulk.chunked_lists import MustReadWhole
from signet_contract.bulk.numbers import Numbers

_VALUES = [
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**62), 2**62),
    st.integers(-9, 9),
    st.booleans(),
]


@given(st.data())
def test_numbers_are_typed_as_json_typed_them(data: st.DataObject) -> None:
    """Chunk by chunk and row by row they are the values that were written, or it is said that they may not be."""
    of_columns = data.draw(st.lists(st.sampled_from(_VALUES), min_size=1, max_size=4))
    some = data.draw(st.lists(st.tuples(*of_columns), min_size=1, max_size=3))
    rows = [list(row) for row in some] * data.draw(st.sampled_from([200, 9000]))
    try:
        numbers = large_json.loads(json.dumps({"inputs": rows}).encode())["inputs"]
        read = _columns(numbers, len(of_columns))
    except (ValueError, MustReadWhole):
        return
    assert list(map(repr, zip(*read, strict=True))) == [repr(tuple(row)) for row in rows]
    chosen = sorted(data.draw(st.sets(st.integers(0, len(rows) - 1), max_size=5)) | {0, len(rows) - 1})
    places = data.draw(st.permutations(range(len(of_columns))))
    taken = typed_numbers.take(numbers, chosen, places)
    assert repr(taken) == repr([[rows[row][place] for place in places] for row in chosen])


def _columns(numbers: Numbers, width: int) -> list[list[Any]]:
    found: list[list[Any]] = [[] for _ in range(width)]
    for place, start, values in typed_numbers.columns(numbers, range(width)):
        assert start == len(found[place])
        found[place] += values.tolist()
    return found


@pytest.mark.parametrize("row", [[2**53, 1], [2**60 + 1, 1]])
def test_an_integer_that_float64_does_not_hold_is_not_told(row: list[int]) -> None:
    """It has become another, and perhaps one of another kind."""
    numbers = large_json.loads(json.dumps({"inputs": [row] * 200}).encode())["inputs"]
    with pytest.raises(MustReadWhole):
        _columns(numbers, 2)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1e39", "-2E19"])
def test_a_number_beyond_all_integers_is_a_float(number: str) -> None:
    """However it is written, be it finite or not."""
    body = f"[{'[0.5],' * 500}[{number}]]".encode()
    assert _columns(large_json.loads(body), 1) == [[0.5] * 500 + [float(number)]]


@pytest.mark.parametrize("number", ["1e18", "-3", "0"])
def test_a_whole_number_among_floats_is_not_told(number: str) -> None:
    """It may be an integer."""
    with pytest.raises(MustReadWhole):
        _columns(large_json.loads(f"[{'[0.5],' * 500}[{number}]]".encode()), 1)
