from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
import simdjson
from hypothesis import event, given
from hypothesis import strategies as st
from signet_contract.bulk import numbers
from signet_contract.bulk.numbers import Numbers

_floats = st.floats(allow_nan=False, allow_infinity=False)
_kinds = st.sampled_from([_floats, st.decimals(-9, 9, places=1).map(float), st.integers(), st.booleans()])
_odd = st.one_of(st.none(), st.just(2**64), st.sampled_from(["", [], [1], {}, 1e400]), _floats, st.integers(-9, 9))
TIMES = st.sampled_from([1, 2, 9000])  # the last make several chunks


def values(found: Numbers) -> Any:
    """What was read, as float64 [items, numbers of an item]."""
    return np.concatenate(found.blocks)


def read(body: bytes, depth: int) -> Numbers | None:
    try:
        return numbers.of_list(simdjson.Parser(), body, 1, len(body) - 1, depth)
    except (ValueError, LookupError):  # the latter is documents' to expect
        return None


@st.composite
def lists(draw: st.DrawFn, shape: list[int]) -> Any:
    """Items of a shape, whose numbers are each of one kind, or one of them odd."""
    width = int(np.prod(shape))
    kinds = [draw(_kinds) for _ in range(width)]
    rows = [[draw(kind) for kind in kinds] for _ in range(draw(st.integers(1, 3)))] * draw(TIMES)
    if draw(st.integers(0, 2)) == 0:
        row = draw(st.integers(0, len(rows) - 1))
        rows[row] = [*rows[row][1:], draw(_odd)]
    cells = np.empty((len(rows), width), object)
    for place, row in enumerate(rows):
        cells[place] = np.fromiter(row, object, width)
    return cells.reshape(-1, *shape).tolist()


@given(data=st.data(), shape=st.lists(st.integers(1, 3), max_size=2), blanks=st.booleans())
def test_what_is_read_is_what_python_reads(data: st.DataObject, shape: list[int], *, blanks: bool) -> None:
    """A list is read number for number, in chunks too, with the types that its numbers have, or it is not read."""
    content = data.draw(lists(shape))
    found = read(json.dumps(content, separators=None if blanks else (",", ":")).encode(), len(shape))
    event("not read" if found is None else "read")
    if found is None:
        return
    leaves = np.array(content, object).reshape(len(content), -1)
    assert (len(found), found.shape) == (len(content), tuple(shape))
    np.testing.assert_array_equal(values(found), leaves.astype(np.float64))
    for column, kinds in zip(leaves.T.tolist(), found.kinds, strict=True):
        assert set(map(type, column)) <= kinds
        assert kinds == set(map(type, column)) or (kinds == {int, float} and float in map(type, column))


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("item", ["1.5", "-7", "true", "1.5,-7", "1.5,true,7"])
def test_rows_that_look_alike_are_read(item: str, depth: int) -> None:
    """However many there are: a list that is plainly one of numbers is not left to a slower parser."""
    item = "[" * depth + item + "]" * depth if depth else item.partition(",")[0]
    found = read(f"[{','.join([item] * 40_000)}]".encode(), depth)
    assert found is not None
    assert len(found.blocks) > 1
    np.testing.assert_array_equal(values(found), np.ravel(json.loads(f"[{item}]"))[None].repeat(40_000, 0))


@given(
    start=st.integers(0, 2**54),
    steps=st.lists(st.sampled_from([1, 1, 1, 7, 0, -1]), min_size=1, max_size=4),
    some=st.one_of(st.lists(st.integers(-(2**63), 2**63), min_size=1), st.lists(_floats, min_size=1)),
    blank=st.sampled_from(["", " "]),
)
def test_members_are_read_with_their_labels(start: int, steps: list[int], some: list[float], blank: str) -> None:
    """An object of numbers is read if its names are ascending; else two could be one, or stand in another order."""
    labels = [start + place for place in np.cumsum([0, *steps]).tolist()]
    items = [some[place % len(some)] for place in range(len(labels))]
    text = f",{blank}".join(f'"{label}":{blank}{json.dumps(item)}' for label, item in zip(labels, items, strict=True))
    body = f"{{{text}}}".encode()
    try:
        found = numbers.of_labelled(simdjson.Parser(), body, 1, len(body) - 1)
    except ValueError:
        event("not read")
        assert labels != sorted(set(labels)) or labels[-1] >= 2**53 or "e" in text
        return
    event("read")
    for each in (found, numbers.of_values(json.loads(body))):
        assert each.labels is not None
        assert each.labels.tolist() == labels
        assert values(each)[:, 0].tolist() == list(map(float, items))
        assert each.kinds == [set(map(type, items))]


@pytest.mark.parametrize("numbers_", ["1e39, 25e7", "1.5e400, -2.5e401", "1.5e-7, -2.0e-9"])
def test_members_with_exponents_are_floats(numbers_: str) -> None:
    """Infinite ones, too; the first says whether there are exponents."""
    first, second = numbers_.split(", ")
    body = f'{{"0":{first},"1":{second}}}'.encode()
    found = numbers.of_labelled(simdjson.Parser(), body, 1, len(body) - 1)
    assert values(found)[:, 0].tolist() == [float(first), float(second)]
    assert found.kinds == [{float}]


@pytest.mark.parametrize("content", [{"01": 1}, {"a": 1}, {" 1": 1}, {"-0": 1}, {"0": None}, [1, "2"], [[1]], "1", 1])
def test_other_values_are_no_numbers(content: Any) -> None:
    """Names that may be written in another way, and values that are no numbers, raise what callers expect."""
    with pytest.raises((TypeError, ValueError), match=r"."):
        numbers.of_values(content)


@pytest.mark.parametrize(
    ("item", "other"),
    [("1", "1e5"), ("[1]", "[]"), ("[1,2]", "[1,[2]]"), ("[1,2]", "[1]"), ("true", "1true"), ("1.5", "1 2.5")],
)
def test_what_does_not_look_like_the_first_is_not_read(item: str, other: str) -> None:
    """Among many that do, one is enough."""
    assert read(f"[{','.join([item] * 200)}]".encode(), item.count("[")) is not None
    assert read(f"[{','.join([item] * 99 + [other] + [item] * 99)}]".encode(), item.count("[")) is None


def test_a_long_list_among_short_ones_is_not_read() -> None:
    """No value is made of it: that takes many times the memory of its text."""
    body = b"[[" + b"1.5," * 100_000 + b"1.5],[1.5]]"
    tracemalloc.start()
    assert read(body, 1) is None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * len(body)


@pytest.mark.parametrize("other", ["1e5", "1.0", "2"])
def test_whole_numbers_that_may_be_floats_are_not_read(other: str) -> None:
    """Where integers and floats are mixed, a column of whole numbers is not sure to have a float."""
    body = f"[{','.join(['[1,0.5]'] * 99 + [f'[{other},7]'])}]".encode()
    with pytest.raises(ValueError, match="may be integers or floats"):
        numbers.of_list(simdjson.Parser(), body, 1, len(body) - 1, 1)
