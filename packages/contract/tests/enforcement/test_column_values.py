from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from mlflow.models.utils import _enforce_mlflow_datatype
from mlflow.types import DataType
from signet_contract.enforcement import column_values
from signet_contract.policy import Policy

from testing.oracle import columns_schema


def examined(type_: str, values: list[Any], *policy: Policy, required: bool = True) -> tuple[list[Any], pd.Series]:
    """What is said of a column of this type, as (rule, row, got), and the column afterwards."""
    frame = pd.DataFrame({"a": pd.Series(values, dtype=object).infer_objects()})
    schema = columns_schema((type_, "a", required))
    violations = column_values.of_rejected(schema, frame, frozenset(policy))
    _, after = column_values.examined(schema, frame, frozenset(policy))
    assert {violation.column for violation in violations} <= {"a"}
    return [(violation.rule, violation.row, violation.got) for violation in violations], after["a"]


@pytest.mark.parametrize(
    ("type_", "values", "found"),
    [
        ("double", [1.5, 2.5], []),
        ("double", [1.5, True], [("type", 1, "boolean")]),
        ("double", ["3.5", 1.5, [1.5]], [("type", 0, "string"), ("type", 2, "array")]),
        ("double", [1, 2], [("type", 0, "int64"), ("type", 1, "int64")]),
        ("double", [1.5, math.inf, -math.inf], [("finite", 1, "inf"), ("finite", 2, "-inf")]),
        ("long", [1.5, 2.0], [("type", 0, "float64"), ("type", 1, "float64")]),
        ("long", [1, "2"], [("type", 1, "string")]),
        ("integer", [1, 2.0], []),
        ("integer", [1.5, 2**31, -(2**31)], [("type", 0, "float64"), ("type", 1, "float64")]),
        ("float", [1.5, 1, 1e39], [("type", 2, "float64")]),
        ("boolean", [True, 1], [("type", 1, "int64")]),
        ("string", ["x", 1, {}], [("type", 1, "int64"), ("type", 2, "object")]),
        ("binary", ["YQ==", 1.5], [("type", 1, "float64")]),
        ("datetime", ["2026-01-02", 1], [("type", 1, "int64")]),
        ("string", ["x", None, "y", math.nan], [("null", 1, "null"), ("null", 3, "null")]),
    ],
)
def test_each_wrong_value_is_named_with_its_row(type_: str, values: list[Any], found: list[Any]) -> None:
    """Nothing is said of the values beside it."""
    assert examined(type_, values)[0] == found


@pytest.mark.parametrize(
    ("type_", "value"),
    [("double", 1.5), ("float", 1.5), ("string", "x"), ("boolean", True), ("datetime", "2026-01-02")],
)
def test_nulls_are_wrong_where_a_column_is_required(type_: str, value: Any) -> None:
    """An optional column may have them."""
    assert examined(type_, [None, value], required=True)[0] == [("null", 0, "null")]
    assert ("null", 0, "null") not in examined(type_, [None, value], required=False)[0]


@pytest.mark.parametrize(
    ("type_", "values", "dtype", "after"),
    [
        ("float", [1.5, 2], np.float32, [1.5, 2.0]),
        ("integer", [1.0, 2], np.int32, [1, 2]),
        ("datetime", ["2026-01-02"], "datetime64[ns]", [pd.Timestamp("2026-01-02")]),
        ("binary", ["YW\nI="], object, [b"ab"]),
        ("double", [1.5], np.float64, [1.5]),
        ("long", [1], np.int64, [1]),
    ],
)
def test_what_json_has_no_type_for_is_converted(type_: str, values: list[Any], dtype: Any, after: list[Any]) -> None:
    """The other types stay as they came."""
    found, column = examined(type_, values)
    assert (found, column.dtype, column.tolist()) == ([], np.dtype(dtype), after)


@pytest.mark.parametrize(("type_", "text"), [("datetime", "now"), ("datetime", "x"), ("binary", "%"), ("binary", "a")])
def test_a_text_that_cannot_be_converted_is_wrong(type_: str, text: str) -> None:
    """It is said of the column, for pandas does not always tell the row."""
    ((rule, row, _),), column = examined(type_, [text])
    assert (rule, row, column.tolist()) == ("type", None, [text])


@pytest.mark.parametrize(
    ("values", "is_right"),
    [([1, 2], True), ([2**53], True), ([2**53 + 1], False), ([1, True], False), ([1, "2"], False)],
)
def test_whole_numbers_are_doubles_where_the_policy_says_so(values: list[Any], *, is_right: bool) -> None:
    """Those only that a double holds exactly."""
    found, column = examined("double", values, Policy.WHOLE_NUMBERS)
    assert (found == []) is is_right
    assert (column.dtype == np.float64) is is_right


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(["", "x", "1.5", "YQ==", "2026-01-02", "2026-01-02T03:04:05Z"]),
    st.just([1.5]),
    st.just({"a": 1}),
)


@given(st.sampled_from([type_.name for type_ in DataType if type_.name != "any"]), st.data())
def test_mlflow_admits_the_columns_that_nothing_is_said_of(type_: str, data: st.DataObject) -> None:
    """A column without violations, as it is handed on, is of the signature's type to MLflow, too."""
    values = data.draw(
        st.one_of(st.lists(each, min_size=1, max_size=4) for each in (*_VALUES.original_strategies, _VALUES))
    )
    found, column = examined(type_, values)
    event(f"{type_}: {'wrong' if found else 'right'}")
    if not found:
        _enforce_mlflow_datatype("a", column, DataType[type_])


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("time data 'x' doesn't match format, at position 3", "time data 'x' doesn't match format"),
        ("unconverted data at position 12 remains", "unconverted data remains"),
        ("no position", "no position"),
    ],
)
def test_pandas_positions_are_left_out(message: str, expected: str) -> None:
    """The violations have the rows."""
    assert column_values.without_place(ValueError(message)) == expected


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (True, "boolean"),
        (np.True_, "boolean"),
        (1, "int64"),
        (np.int64(1), "int64"),
        (1.5, "float64"),
        (np.float32(1.5), "float64"),
        ("x", "string"),
        ([], "array"),
        ({}, "object"),
        (b"", "binary"),
        (None, "null"),
        (pd.Timestamp(0), "Timestamp"),
    ],
)
def test_kinds_have_one_name_each(value: Any, name: str) -> None:
    """Whether a value is Python's or numpy's."""
    assert column_values.kind_name(value) == name
