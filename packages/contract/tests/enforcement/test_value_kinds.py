from __future__ import annotations

import math
from itertools import chain, pairwise, product
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests_drawn as drawn
from hypothesis import event, given
from hypothesis import strategies as st
from mlflow.types import DataType
from signet_contract.enforcement.value_kinds import ABSENT, Kinds, are_rejected

from testing.oracle import columns_schema, decide_table

BEYOND = 2**128 - 2**103  # from here on a number is infinite in float32
ENDS = sorted(
    sign * end
    for end in (0, 2, 2**31, 2**53, 2**63, 2**64, BEYOND - 2**74, BEYOND, 2**128, 2**1023)
    for sign in (1, -1)
)
_integers = [st.integers(least - 2, most + 2) for least, most in pairwise(ENDS)]
_floats = [st.floats(float(least), float(most)) for least, most in pairwise(ENDS)]
_words = ["nan", "-nan", "", " ", "null", "None", "na", "n/a", "N/A", "<NA>", "inf", "-Infinity", "0x1", "MS41"]
_times = ["2020-01-02", "2020-01-02T03:04:05Z", "2021-01-02T03:04:05+02:00", "2021-01-02T00:00+02:00"]
FAMILIES = [  # of values that are often of one kind
    *_integers,
    *_floats,
    *(each.map(lambda value: float(round(value))) for each in _floats),
    *(each.map(str) for each in (*_integers, *_floats)),
    *[st.sampled_from([*_words, *_times]), drawn.anything] * 5,
]
values = st.one_of(FAMILIES)
types = st.sampled_from(sorted(DataType, key=str))
MOST = 3
KNOWN = {DataType.datetime: {"", "nan"}}  # told apart by MLflow alone; see test_float32.py


def kinds_of(type_: DataType, column: list[Any], cuts: list[int], most: int = MOST) -> Kinds:
    """Those of a column that comes in chunks, sorted once more if they must be."""
    kinds = Kinds(type_, most)
    for again in (False, True):
        if again and not kinds.must_read_texts:
            break
        kinds = kinds.with_texts() if again else kinds
        for start, stop in zip([0, *cuts], [*cuts, len(column)], strict=True):
            if stop > start:
                kinds.add(start, column[start:stop])
    return kinds


def decided(type_: DataType, column: list[Any], allow: frozenset[str]) -> tuple[Any, ...]:
    """What MLflow says of a column; what pandas says where it crashes may cite a value."""
    decision = decide_table(columns_schema((type_.name, "a")), pd.DataFrame({"a": column}), allow)
    return None if decision.crashed else decision.message, decision.crashed, decision.stricter


@given(
    type_=types,
    pair=st.sampled_from(FAMILIES).flatmap(lambda family: st.tuples(family, family)),
    others=st.lists(values, max_size=2),
    is_first=st.booleans(),
    allow=st.sampled_from([frozenset[str](), frozenset({"whole_numbers"})]),
)
def test_values_of_one_kind_are_answered_alike(
    type_: DataType, pair: tuple[Any, Any], others: list[Any], allow: frozenset[str], *, is_first: bool
) -> None:
    """In any column one value may stand for another of its kind: MLflow accepts both, or says the same of both."""
    kinds = kinds_of(type_, [*pair, *others], [])
    kind = kinds.of(0)
    is_known = not KNOWN.get(type_, set()).isdisjoint(map(str, [*pair, *others]))
    if kind is None or kind != kinds.of(1) or repr(pair[0]) == repr(pair[1]) or is_known:
        return
    event(f"two of one kind: {kind[0].__name__}")
    one, other = ([value, *others] if is_first else [*others, value] for value in pair)
    assert decided(type_, one, allow) == decided(type_, other, allow)


@pytest.mark.parametrize("allow", [frozenset(), frozenset({"whole_numbers"})], ids=str)
@pytest.mark.parametrize("type_", DataType, ids=lambda type_: type_.name)
def test_numbers_about_each_end_are_answered_by_kind(type_: DataType, allow: frozenset[str]) -> None:
    """Where what MLflow says of one number is not what it says of the next, another kind begins."""
    answers: dict[Any, set[Any]] = {}
    for end, by, kind in product(ENDS, (-2, -1, -0.5, 0, 0.5, 1, 2), (int, float)):
        value = kind(end + by)
        answers.setdefault(kinds_of(type_, [value], []).of(0), set()).add(decided(type_, [value], allow))
    assert [kind for kind, said in answers.items() if len(said) > 1] == []


@pytest.mark.parametrize(
    ("type_", "one", "other"), [("binary", "bmFu", "MS41"), ("double", [], [0]), ("double", BEYOND - 1, 2**64)]
)
def test_values_that_are_answered_in_two_ways_are_of_two_kinds(type_: str, one: Any, other: Any) -> None:
    """Else an excerpt is refused in other words than the whole, or right values are counted among the wrong ones."""
    kinds = kinds_of(DataType[type_], [one, other], [])
    assert decided(DataType[type_], [one], frozenset()) != decided(DataType[type_], [other], frozenset())
    assert kinds.of(0) != kinds.of(1)


@given(type_=types, some=st.lists(values, min_size=1, max_size=4), data=st.data())
def test_each_value_is_counted_and_the_first_are_told(type_: DataType, some: list[Any], data: st.DataObject) -> None:
    """However a column is cut, each value is of one kind of its type; without texts the cuts make no difference."""
    column = data.draw(st.lists(st.sampled_from(some), min_size=1, max_size=30))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(column)), max_size=3)))
    kinds, every = kinds_of(type_, column, cuts), kinds_of(type_, column, cuts, len(column))
    assert sorted(chain.from_iterable(every.first.values())) == list(range(len(column)))
    assert kinds.counts == {kind: len(rows) for kind, rows in every.first.items()}
    assert kinds.first == {kind: sorted(rows)[:MOST] for kind, rows in every.first.items()}
    assert all({type(column[row]) for row in rows} == {type_} for (type_, _), rows in every.first.items())
    if str not in map(type, column):
        whole = kinds_of(type_, column, [])
        assert (whole.first, whole.counts) == (kinds.first, kinds.counts)


@given(
    type_=types,
    column=st.one_of(st.lists(st.floats(), min_size=1), st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1)),
)
def test_an_array_has_the_kinds_of_its_list(type_: DataType, column: list[float]) -> None:
    """As pandas gives a column of CSV."""
    of_list, of_array = Kinds(type_, MOST), Kinds(type_, MOST)
    of_list.add(7, column)
    of_array.add(7, np.array(column))
    assert (of_array.first, of_array.counts) == (of_list.first, of_list.counts)


@pytest.mark.parametrize("type_", DataType, ids=lambda type_: type_.name)
def test_a_column_has_few_kinds(type_: DataType) -> None:
    """However many values it has: that is what makes an excerpt short."""
    generator = np.random.default_rng(1)
    column = [*generator.normal(size=20_000).tolist(), *generator.integers(-(2**63), 2**63, 20_000).tolist()]
    assert 2 <= len(kinds_of(type_, [*column, *[None, True, "x", [], {}] * 1000], [9, 30_000]).counts) < 30


RULES = frozenset({"null", "finite", "type"})


@pytest.mark.parametrize(
    ("type_", "wrong", "right"),
    [
        (DataType.double, [None, math.nan, math.inf, -math.inf, "1.5", True, [], {}, ABSENT], [1.5, 1, 1e300, 10**400]),
        (DataType.long, [1.5, "1", True, None], [1, 10**30]),
        (DataType.string, [1, 1.5, None, []], ["", "nan"]),
        (DataType.boolean, [1, 0.0, "true", None], [True, False]),
        (DataType.datetime, [1, None], ["2020-01-01", "x"]),
    ],
)
def test_a_value_may_be_wrong_whatever_stands_beside_it(type_: DataType, wrong: list[Any], right: list[Any]) -> None:
    """Such a value rejects its table at once, unless the rule that it breaks is lifted."""
    for value in wrong:
        kinds, lenient = Kinds(type_, 1, RULES), Kinds(type_, 1)
        for each in (kinds, lenient):
            each.add(0, [*right, value])
        assert kinds.is_rejected
        assert not lenient.is_rejected
    kinds = Kinds(type_, 1, RULES)
    kinds.add(0, right)
    assert not kinds.is_rejected


def test_whole_numbers_alone_leave_it_open() -> None:
    """They are doubles beside others: until such come, a table is not rejected for another column."""
    whole, wrong = Kinds(DataType.double, 1, RULES), Kinds(DataType.double, 1, RULES)
    whole.add(0, [5, 3])
    wrong.add(0, [1.5, None])
    assert not are_rejected([whole, wrong])
    whole.add(2, [1.5, 7])
    assert are_rejected([whole, wrong])
