"""The values of a data frame's columns, held to the types of the signature one by one."""

from __future__ import annotations

import base64
import csv
import math
import re
import reprlib
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

# Private, as in decision.py.
from mlflow.models.utils import _enforce_mlflow_datatype
from mlflow.types import DataType, Schema

from signet_contract.enforcement.value_kinds import BEYOND_FLOAT32, PYTHON_TYPES, is_date_like
from signet_contract.errors import Violation
from signet_contract.model_input import EXACT
from signet_contract.policy import Policy

# JSON has no float32, int32, date or bytes: these take what JSON has, where nothing is lost by it.
_CONVERTED = {DataType.float, DataType.integer, DataType.datetime, DataType.binary}

_KIND_NAMES = {
    bool: "boolean",
    int: "int64",
    float: "float64",
    str: "string",
    list: "array",
    dict: "object",
    bytes: "binary",
    type(None): "null",
}

_POSITION_OR_SIZE = re.compile(r",? at position [0-9]+|\. The detected shape was .*", re.DOTALL)

# What pandas and MLflow raise on some values, nested and huge ones mostly, where they ought to reject.
CRASHES = (AttributeError, TypeError, ValueError, IndexError, KeyError, OverflowError, csv.Error)


def _typed_columns(schema: Schema, frame: pd.DataFrame) -> list[tuple[Any, Any, bool]]:
    if schema.has_input_names():
        specs = schema.input_dict().items()
        return [(name, spec.type, spec.required) for name, spec in specs if name in frame.columns]
    types = zip(frame.columns, schema.input_types(), strict=False)
    return [(name, type_, True) for name, type_ in types]


def _are_exact_doubles(series: pd.Series) -> bool:
    """Whether a column holds whole numbers and nulls only, each of which a double holds exactly."""
    present = [value for value in series if not _is_null(value)]
    return set(map(type, present)) == {int} and max(map(abs, present)) <= EXACT


def examined(
    schema: Schema, frame: pd.DataFrame, policy: frozenset[str], *, is_right: bool = False
) -> tuple[list[Violation], pd.DataFrame]:
    """The violations of a table's values, and the table with its columns in types that JSON lacks.

    Args:
        schema: of columns.
        frame: the signature's columns.
        policy: words of `policy` that hold.
        is_right: whether the table's excerpt was admitted, so that no value needs checking again.
    """
    violations, converted = [], frame
    for name, type_, required in _typed_columns(schema, frame):
        sent = frame[name]
        series = _as_doubles(sent, type_, policy)
        if is_right:
            series = _in_type(series, type_)
        else:
            found, series = _of_column(name, type_, series, required=required)
            violations += found
        if series is not sent:
            converted = frame.copy(deep=False) if converted is frame else converted
            converted[name] = series
    return violations, converted


def of_rejected(schema: Schema, frame: pd.DataFrame, policy: frozenset[str]) -> list[Violation]:
    """The violations of a table that MLflow rejects. MLflow names one column, so it is asked about each one alone."""
    violations = []
    for name, type_, required in _typed_columns(schema, frame):
        series = _as_doubles(frame[name], type_, policy)
        violations += _of_column(name, type_, series, required=required, asks_mlflow=True)[0]
    return violations


def _as_doubles(series: pd.Series, type_: Any, policy: frozenset[str]) -> pd.Series:
    is_lifted = type_ == DataType.double and Policy.WHOLE_NUMBERS in policy and _are_exact_doubles(series)
    return series.astype(np.float64) if is_lifted else series


def _of_column(
    name: Any, type_: Any, series: pd.Series, *, required: bool, asks_mlflow: bool = False
) -> tuple[list[Violation], pd.Series]:
    """The violations of a column's values, and the column in its type if JSON lacks that.

    With `asks_mlflow`, every value counts as wrong if MLflow rejects the column and no value is wrong by itself.
    """
    values = list(series)
    present = [(row, value) for row, value in enumerate(values) if not _is_null(value)]
    type_name = type_.name if isinstance(type_, DataType) else str(type_)
    violations = []
    if required and len(present) < len(values):
        rows = set(range(len(values))).difference(row for row, _ in present)
        violations = [Violation("null", type_name, "null", row=row, column=name) for row in sorted(rows)]
    if not isinstance(type_, DataType):
        return violations, series
    wrong = [(row, value) for row, value in present if not _is_kind(value, type_)]
    if not wrong:
        if type_ in _CONVERTED:
            try:
                series = _in_type(series, type_)
            except (ValueError, TypeError, OverflowError) as error:
                violations.append(Violation("type", type_name, without_place(error), column=name))
        elif asks_mlflow and not _mlflow_admits(name, series, type_):
            wrong = present
    violations += [Violation("type", type_name, kind_name(value), row=row, column=name) for row, value in wrong]
    violations += [
        Violation("finite", "a finite number", str(value), row=row, column=name)
        for row, value in present
        if isinstance(value, (float, np.floating)) and math.isinf(value)
    ]
    return violations, series


def without_place(error: Exception) -> str:
    """The error's text without a position, which the violations have, or a size, which may be that of an excerpt."""
    return _POSITION_OR_SIZE.sub("", str(error))


def _mlflow_admits(name: Any, series: pd.Series, type_: DataType) -> bool:
    try:
        _enforce_mlflow_datatype(name, series, type_)
    except (MlflowException, *CRASHES):
        return False
    return True


def _in_type(series: pd.Series, type_: Any) -> pd.Series:
    """A column of values of the right kind, in its type if JSON lacks that.

    Raises:
        ValueError: the column has nulls that the type cannot hold, or a text that is no date or no base64.
    """
    if type_ == DataType.float:
        with np.errstate(over="ignore"):
            return series.astype(np.float32)
    if type_ not in _CONVERTED or not series.notna().any():
        return series
    if type_ == DataType.integer:
        return series.astype(np.int32)
    if type_ == DataType.datetime:
        odd = next((value for value in series if isinstance(value, str) and not is_date_like(value)), None)
        if odd is not None:  # pandas would make the present time of it, or a null
            raise ValueError(f"{reprlib.repr(odd)} is no date")
        return pd.to_datetime(series, format="ISO8601").dt.as_unit("ns")
    return series.map(_decoded)


def _decoded(text: Any) -> Any:
    """Bytes of a base64 text, which is how MLflow's scoring server takes a binary column; it may be broken in lines."""
    return base64.b64decode("".join(text.split()), validate=True) if isinstance(text, str) else text


def _is_null(value: Any) -> bool:
    return value is None or value is pd.NaT or (isinstance(value, (float, np.floating)) and math.isnan(value))


def _is_kind(value: Any, type_: DataType) -> bool:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool):
        return bool(type_ == DataType.boolean)
    if not isinstance(value, PYTHON_TYPES[type_]):
        return False
    return _fits_number(value, type_) if isinstance(value, (int, float)) else True


def _fits_number(value: float, type_: DataType) -> bool:
    """Whether a number can be of a type that JSON lacks; infinity has a rule of its own."""
    if type_ == DataType.integer:  # 2.0 is how some clients write 2
        return -(2**31) <= value < 2**31 and float(value).is_integer()
    if type_ == DataType.float:
        return abs(value) < BEYOND_FLOAT32 or value in (math.inf, -math.inf)
    return True


def kind_name(value: Any) -> str:
    """Name of a value's type as rejections give it: numpy's for numbers, else JSON's."""
    value = value.item() if isinstance(value, np.generic) else value
    return _KIND_NAMES.get(type(value), type(value).__name__)
