from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pandas as pd
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.models.utils import _enforce_schema
from mlflow.types import Schema
from signet_contract.enforcement import column_names
from signet_contract.errors import MAX_VIOLATIONS, SignatureMismatch, Violation

from testing.oracle import columns_schema

_names = st.sampled_from(["a", "b", "c", "d", "", "é", "0", 0, 1, None])
_specs = st.lists(
    st.tuples(st.sampled_from("abcd"), st.booleans()), min_size=1, max_size=4, unique_by=lambda spec: spec[0]
)


def named(specs: list[tuple[str, bool]]) -> Schema:
    return columns_schema(*(("double", name, required) for name, required in specs))


def required_of(schema: Schema, names: list[Any]) -> tuple[list[Violation], SignatureMismatch | None]:
    """What is said of names, and the rejection if it is one."""
    try:
        return column_names.require(schema, names), None
    except SignatureMismatch as rejection:
        return list(rejection.violations), rejection


@given(specs=_specs, names=st.lists(_names, max_size=6))
def test_each_wrong_name_is_told_once(specs: list[tuple[str, bool]], names: list[Any]) -> None:
    """Columns that come twice, that are missing and that are too many: all are told, but only the last let it pass."""
    violations, rejection = required_of(named(specs), names)
    twice = [name for name, count in Counter(names).items() for _ in range(count - 1)]
    missing = [name for name, required in specs if required and name not in names]
    extra = dict.fromkeys(name for name in names if name not in dict(specs))
    event("twice" if twice else "missing" if missing else "extra" if extra else "right")
    assert {violation.rule for violation in violations} <= {"columns"}
    said = [(violation.column, violation.got) for violation in violations]
    assert Counter(said) == Counter(
        [(name, "the same column twice") for name in twice]
        + [(name, column_names.MISSING) for name in missing]
        + [(name, column_names.EXTRA) for name in extra]
    )
    assert [name for name, got in said if got == column_names.EXTRA] == list(extra)
    assert (rejection is not None) == bool(twice or missing)
    if rejection and twice:
        assert rejection.message.startswith("The input has columns more than once: [")


@given(specs=_specs, names=st.lists(_names.filter(lambda name: type(name) is str), max_size=6, unique=True))
def test_missing_columns_are_told_in_mlflow_s_words(specs: list[tuple[str, bool]], names: list[str]) -> None:
    """Where MLflow misses columns so do we, and say it word for word; the extra ones stand in the order they came."""
    frame = pd.DataFrame({name: [1.5] for name in names}, index=[0])
    try:
        _enforce_schema(frame, named(specs))
        expected = None
    except MlflowException as error:
        expected = error.message
    _, rejection = required_of(named(specs), names)
    event("accepted" if expected is None else "refused")
    assert (rejection is None) == (expected is None)
    if rejection and expected:
        assert sorted(re.findall(r"\w+", rejection.message)) == sorted(re.findall(r"\w+", expected))
        assert rejection.message.partition(" Note")[0] == expected.partition(" Note")[0]
        extra = [name for name in names if name not in dict(specs)]
        assert rejection.message.endswith(f"extra inputs: {extra}." if extra else "].")


@pytest.mark.parametrize("given_columns", [0, 1, 2, 3, 5])
def test_columns_without_names_are_counted(given_columns: int) -> None:
    """Those behind as many as the signature has are extra; that there are too few is MLflow's to say."""
    violations, rejection = required_of(columns_schema(("double", None), ("double", None)), list(range(given_columns)))
    assert rejection is None
    assert [violation.column for violation in violations] == list(range(2, given_columns))
    assert {violation.expected for violation in violations} <= {"2 columns"}


@pytest.mark.parametrize("count", [1, MAX_VIOLATIONS, MAX_VIOLATIONS + 1, 5000])
def test_the_first_twenty_of_each_sort_are_told(count: int) -> None:
    """The others are counted beside the violations."""
    missing, extra = [f"m{index}" for index in range(count)], [f"x{index}" for index in range(count)]
    violations, rejection = required_of(named([(name, True) for name in missing]), extra)
    first = min(count, MAX_VIOLATIONS)
    assert rejection is not None
    assert [violation.column for violation in violations] == [*missing[:first], *extra[:first]]
    assert rejection.more == 2 * (count - first)
    more = " and more" if count > first else ""
    assert rejection.message == (
        f"Model is missing inputs {missing[:first]}{more}. Note that there were extra inputs: {extra[:first]}{more}."
    )
    assert column_names.extra_message(extra) == f"Model has no inputs {extra[:first]}{more}: extra inputs are refused."
