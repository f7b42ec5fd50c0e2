"""Column signatures: the data frame that MLflow would enforce, examined value by value."""

from __future__ import annotations

import base64
import csv
import io
import math
import re
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

# Private, as in verdict.py.
from mlflow.models.utils import _enforce_mlflow_datatype, _enforce_schema
from mlflow.pyfunc.scoring_server import parse_csv_input
from mlflow.types import DataType, Schema
from mlflow.utils.proto_json_utils import dataframe_from_parsed_json

from signet_contract import unchecked_names
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.enforcement import column_names
from signet_contract.enforcement.kinds import BEYOND_FLOAT32
from signet_contract.errors import MalformedPayload, SignatureMismatch, Violation
from signet_contract.policy import Policy, refused

# JSON has no float32, int32, date or bytes: these take what JSON has, where nothing is lost by it.
_CONVERTED = {DataType.float, DataType.integer, DataType.datetime, DataType.binary}

# Doubles hold every whole number up to here.
EXACT_INTEGER = 2**53

_KINDS: dict[DataType, tuple[type, ...]] = {
    DataType.double: (float, int),
    DataType.float: (float, int),
    DataType.long: (int,),
    DataType.integer: (float, int),
    DataType.boolean: (bool,),
    DataType.string: (str,),
    DataType.binary: (str, bytes),
    DataType.datetime: (str, pd.Timestamp),
}

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

_MANY_COLUMNS = 10_000

_PLACE = re.compile(r",? at position [0-9]+")

# What pandas and MLflow raise on some values, nested and huge ones mostly, where they ought to refuse.
CRASHES = (AttributeError, TypeError, ValueError, IndexError, KeyError, OverflowError, csv.Error)


def enforced(schema: Schema, decoded: DecodedRequest, policy: frozenset[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The data frame that pyfunc would feed, the signature's columns in its order and types, and what was sent for it.

    `allow` has the words of `policy` that hold.

    Raises:
        Rejected: the request is no table, or the schema does not admit it.
    """
    frame = read(schema, decoded, policy)
    violations = column_names.require(schema, frame.columns)
    if frame.empty:
        violations.append(Violation(rule="empty", expected="at least one row", got="no rows"))
    if schema.has_input_names():
        frame = frame[[name for name in schema.input_names() if name in frame.columns]]
    sent, frame = frame, frame.copy(deep=False)
    for name, type_, required in _typed_columns(schema, frame):
        series = frame[name]
        if type_ == DataType.double and Policy.WHOLE_NUMBERS in policy and _are_exact_doubles(series):
            series = series.astype(np.float64)
        found, frame[name] = _examined(name, type_, series, required=required)
        violations.extend(found)
    try:
        result: pd.DataFrame = _enforce_schema(frame, schema)
    except MlflowException as error:
        generic = Violation(rule="signature", expected=str(schema), got=error.message)
        raise SignatureMismatch(error.message, violations or [generic]) from error
    except CRASHES as error:
        got = _without_place(error)
        generic = Violation(rule="signature", expected=str(schema), got=got)
        raise SignatureMismatch(
            f"The signature's types do not fit the input: {got}.", violations or [generic]
        ) from error
    if violations := refused(violations, policy):
        raise SignatureMismatch(_stricter(violations), violations)
    return result, sent


def read(schema: Schema, decoded: DecodedRequest, policy: frozenset[str]) -> pd.DataFrame:
    """The data frame that MLflow's scoring server would make, with the values still as JSON typed them.

    Raises:
        MalformedPayload: the request is no table.
        SignatureMismatch: it has names, and the schema has none to check them by.
    """
    try:
        frame = _as_mlflow_reads(schema, decoded)
        set(frame.columns)  # raises for labels such as lists
    except MlflowException as error:
        raise MalformedPayload(
            error.message, expected=f"{decoded.format.value} as MLflow reads it", got="something else"
        ) from error
    except CRASHES as error:
        raise MalformedPayload(
            f"The {decoded.format.value} cannot be read as rows and columns: {error}.",
            expected="rows and columns",
            got=type(decoded.content).__name__,
        ) from error
    if not schema.has_input_names():
        unchecked_names.refuse(list(frame.columns), policy)
    return frame


def kind_name(value: Any) -> str:
    """Name of a value's type as rejections give it: numpy's for numbers, else JSON's."""
    value = value.item() if isinstance(value, np.generic) else value
    return _KIND_NAMES.get(type(value), type(value).__name__)


def _as_mlflow_reads(schema: Schema, decoded: DecodedRequest) -> pd.DataFrame:
    content = decoded.content
    if isinstance(content, pd.DataFrame):  # of a CSV that was read before
        return content
    if decoded.format is Format.CSV:
        _refuse_wide(content, len(schema.inputs))
        frame: pd.DataFrame = parse_csv_input(io.StringIO(content), schema=schema)
        if not isinstance(frame.index, pd.RangeIndex):  # pandas shifts the columns of rows that have too many cells
            raise ValueError("a row has more cells than the header")
    elif decoded.format in (Format.SPLIT, Format.RECORDS):
        orient = decoded.format.value.removeprefix("dataframe_")
        _refuse_ragged(content.get("data") if isinstance(content, dict) else content)
        frame = dataframe_from_parsed_json(content, pandas_orient=orient)  # type: ignore[no-untyped-call]
    elif isinstance(content, dict):
        frame = _frame_of_columns(schema, content)
    elif isinstance(content, list):
        expected = schema.input_names() if schema.has_input_names() else []
        one_column = len(expected) == 1 and not any(isinstance(item, dict) for item in content)
        if not one_column:
            _refuse_ragged(content)
        frame = pd.DataFrame({expected[0]: content} if one_column else content)
    else:
        frame = pd.DataFrame([content])
    return frame


def _refuse_wide(text: str, columns: int) -> None:
    """Pandas takes minutes over a header of a million names, or over a row of as many more cells than that."""
    for line in islice(re.finditer(r"[^\r\n]+", text), 3):
        if line[0].count(",") > columns + _MANY_COLUMNS:
            cells = len(next(csv.reader([line[0]])))
            if cells > columns + _MANY_COLUMNS:
                raise ValueError(f"a line has {cells} cells, and the signature has {columns} columns")


def _refuse_ragged(rows: Any) -> None:
    """Pandas 3 pads short rows with nulls and warns that it will not for long."""
    lists = [row for row in rows if isinstance(row, list)] if isinstance(rows, list) else []
    lengths = sorted({len(row) for row in lists})
    if len(lengths) > 1:
        raise ValueError(f"the rows have from {lengths[0]} to {lengths[-1]} values")
    if lists and len(lists) < len(rows):
        raise ValueError("some rows are lists and some are not")


def _frame_of_columns(schema: Schema, columns: dict[str, Any]) -> pd.DataFrame:
    has_nested_types = any(not isinstance(type_, DataType) for type_ in schema.input_types())
    has_scalars = any(not isinstance(value, (list, dict)) for value in columns.values())
    is_one_row = bool(columns) and all(not isinstance(value, (list, dict)) for value in columns.values())
    if is_one_row or (has_nested_types and (has_scalars or any(isinstance(value, dict) for value in columns.values()))):
        return pd.DataFrame([columns])
    return pd.DataFrame(columns)


def _typed_columns(schema: Schema, frame: pd.DataFrame) -> list[tuple[Any, Any, bool]]:
    if schema.has_input_names():
        specs = schema.input_dict().items()
        return [(name, spec.type, spec.required) for name, spec in specs if name in frame.columns]
    types = zip(frame.columns, schema.input_types(), strict=False)
    return [(name, type_, True) for name, type_ in types]


def _are_exact_doubles(series: pd.Series) -> bool:
    """Whether a column holds whole numbers and nulls only, each of which a double holds exactly."""
    present = [value for value in series if not _is_null(value)]
    return set(map(type, present)) == {int} and max(map(abs, present)) <= EXACT_INTEGER


def _examined(name: Any, type_: Any, series: pd.Series, *, required: bool) -> tuple[list[Violation], pd.Series]:
    """What is wrong with a column, value by value, and the column converted where JSON has no such type."""
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
                series = _converted(series, type_) if present or type_ == DataType.float else series
            except (ValueError, TypeError, OverflowError) as error:
                violations.append(Violation("type", type_name, _without_place(error), column=name))
        elif not _mlflow_admits(name, series, type_):
            wrong = present
    violations += [Violation("type", type_name, kind_name(value), row=row, column=name) for row, value in wrong]
    violations += [
        Violation("finite", "a finite number", str(value), row=row, column=name)
        for row, value in present
        if isinstance(value, (float, np.floating)) and math.isinf(value)
    ]
    return violations, series


def _without_place(error: Exception) -> str:
    """What pandas says, but for the place in a column, which the violations have."""
    return _PLACE.sub("", str(error))


def _mlflow_admits(name: Any, series: pd.Series, type_: DataType) -> bool:
    try:
        _enforce_mlflow_datatype(name, series, type_)
    except (MlflowException, *CRASHES):
        return False
    return True


def _converted(series: pd.Series, type_: DataType) -> pd.Series:
    """The column, all of whose values are of the right kind, in a type that JSON lacks.

    Raises:
        ValueError: it has nulls that the type cannot hold, or its text is no date or no base64.
    """
    if type_ == DataType.float:
        with np.errstate(over="ignore"):
            return series.astype(np.float32)
    if type_ == DataType.integer:
        return series.astype(np.int32)
    if type_ == DataType.datetime:
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
    if not isinstance(value, _KINDS[type_]):
        return False
    return _fits_number(value, type_) if isinstance(value, (int, float)) else True


def _fits_number(value: float, type_: DataType) -> bool:
    """Whether a number can be of a type that JSON lacks; infinity has a rule of its own."""
    if type_ == DataType.integer:  # 2.0 is how some clients write 2
        return -(2**31) <= value < 2**31 and float(value).is_integer()
    if type_ == DataType.float:
        return abs(value) < BEYOND_FLOAT32 or value in (math.inf, -math.inf)
    return True


def _stricter(violations: list[Violation]) -> str:
    """One sentence for the first violation, all of which MLflow would have let through."""
    first = violations[0]
    match first.rule:
        case "columns":
            return column_names.extra_message(
                [violation.column for violation in violations if violation.got == column_names.EXTRA]
            )
        case "empty":
            return "The input is empty: at least one row is expected."
        case "null":
            return f"Column {first.column} is required and has null in row {first.row}: expected {first.expected}."
    where = "" if first.row is None else f" in row {first.row}"
    return f"Column {first.column} has {first.got}{where}: expected {first.expected}."
