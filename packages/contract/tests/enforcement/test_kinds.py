from __future__ import annotations

import json
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests_drawn as drawn
from hypothesis import event, given
from hypothesis import strategies as st
from mlflow.types import DataType
from oracle import columns_schema, judge_table, signature_document
from signet_contract.contract import Contract
from signet_contract.enforcement.kinds import Kinds
from signet_contract.errors import Rejected

ENDS = sorted(
    sign * end for end in (0, 2, 2**31, 2**53, 2**63, 2**64, 2**128 - 2**103, 2**128, 2**1023) for sign in (1, -1)
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
NO_DATES = {"", "nan"}  # which pandas takes for dates, see test_floats.py


def kinds_of(type_: DataType, column: list[Any], cuts: list[int], most: int = MOST) -> Kinds:
    """Those of a column that comes in pieces, sorted once more if they must be."""
    kinds = Kinds(type_, most)
    for again in (False, True):
        if again and not kinds.must_read_texts:
            break
        kinds = kinds.with_texts() if again else kinds
        for start, stop in zip([0, *cuts], [*cuts, len(column)], strict=True):
            if stop > start:
                kinds.add(start, column[start:stop])
    return kinds


def judged(type_: DataType, column: list[Any]) -> tuple[Any, ...]:
    """What MLflow says of a column; what pandas says where it crashes may cite a value."""
    verdict = judge_table(columns_schema((type_.name, "a")), pd.DataFrame({"a": column}))
    return None if verdict.crashed else verdict.message, verdict.crashed, verdict.stricter


@given(
    type_=types.filter(lambda type_: type_ != DataType.binary),  # see the next test
    pair=st.sampled_from(FAMILIES).flatmap(lambda family: st.tuples(family, family)),
    others=st.lists(values, max_size=2),
    is_first=st.booleans(),
)
def test_values_of_one_kind_are_answered_alike(
    type_: DataType, pair: tuple[Any, Any], others: list[Any], *, is_first: bool
) -> None:
    """In any column one value may stand for another of its kind: MLflow accepts both, or says the same of both."""
    kinds = kinds_of(type_, [*pair, *others], [])
    kind = kinds.of(0)
    has_no_date = type_ == DataType.datetime and not NO_DATES.isdisjoint(map(str, [*pair, *others]))
    if kind is None or kind != kinds.of(1) or repr(pair[0]) == repr(pair[1]) or has_no_date:
        return
    event(f"two of one kind: {kind[0].__name__}")
    one, other = ([value, *others] if is_first else [*others, value] for value in pair)
    assert judged(type_, one) == judged(type_, other)


@pytest.mark.xfail(reason="Bytes that are fed as NaN are of the kind of those that are fed as numbers.")
def test_bytes_of_one_kind_are_fed_alike() -> None:
    """One wrong value of a binary column is one mistake, however many right ones there are."""
    column = ["bmFu", *["MS41"] * 99]  # nan, and 1.5
    contract = Contract(signature_document(columns_schema(("binary", "a"))))
    with pytest.raises(Rejected) as caught:
        contract.check(json.dumps({"a": column}).encode())
    assert "more_errors" not in caught.value.document()


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
