"""Column signatures: the data frame that MLflow would enforce, examined value by value."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

# Private, as in verdict.py.
from mlflow.models.utils import _enforce_mlflow_datatype, _enforce_schema
from mlflow.pyfunc.scoring_server import parse_csv_input
from mlflow.types import DataType, Schema
from mlflow.utils.proto_json_utils import dataframe_from_parsed_json

from signet_torchserve import unchecked_names
from signet_torchserve.errors import MalformedPayload, Problem, SignatureMismatch
from signet_torchserve.payload import Format, Payload
from signet_torchserve.relaxations import Relaxation, refused

# JSON has no float32, int32, date or bytes: these take what JSON has, where nothing is lost by it.
_CONVERTED = {DataType.float, DataType.integer, DataType.datetime, DataType.binary}

# Doubles hold every whole number up to here.
EXACT_INTEGER = 2**53

# From here on a number rounds to infinity in a float column.
_BEYOND_FLOAT32 = 2.0**128 - 2.0**103

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

# What pandas and MLflow raise on some values, nested and huge ones mostly, where they ought to refuse.
CRASHES = (AttributeError, TypeError, ValueError, IndexError, KeyError, OverflowError)

MISSING = "no such column"
EXTRA = "an extra column"


def enforced(schema: Schema, payload: Payload, allow: frozenset[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The data frame that pyfunc would feed, the signature's columns in its order and types, and what was sent for it.

    `allow` has the words of `relaxations` that hold.

    Raises:
        Refusal: the payload is no table, or the schema does not admit it.
    """
    frame = read(schema, payload, allow)
    problems = list(_column_problems(schema, frame))
    if frame.columns.has_duplicates:
        twice = list(frame.columns[frame.columns.duplicated()])
        raise SignatureMismatch(f"The input has columns more than once: {twice}.", problems)
    missing = [problem.column for problem in problems if problem.got == MISSING]
    if missing:
        raise SignatureMismatch(missing_message(problems), problems)
    if frame.empty:
        problems.append(Problem(rule="empty", expected="at least one row", got="no rows"))
    if schema.has_input_names():
        frame = frame[[name for name in schema.input_names() if name in frame.columns]]
    sent, frame = frame, frame.copy(deep=False)
    for name, type_, required in _typed_columns(schema, frame):
        series = frame[name]
        if type_ == DataType.double and Relaxation.WHOLE_NUMBERS in allow and _are_exact_doubles(series):
            series = series.astype(np.float64)
        found, frame[name] = _examined(name, type_, series, required=required)
        problems.extend(found)
    try:
        result: pd.DataFrame = _enforce_schema(frame, schema)
    except MlflowException as error:
        generic = Problem(rule="signature", expected=str(schema), got=error.message)
        raise SignatureMismatch(error.message, problems or [generic]) from error
    except CRASHES as error:
        generic = Problem(rule="signature", expected=str(schema), got=str(error))
        raise SignatureMismatch(
            f"The signature's types do not fit the input: {error}.", problems or [generic]
        ) from error
    if problems := refused(problems, allow):
        raise SignatureMismatch(_stricter(problems), problems)
    return result, sent


def read(schema: Schema, payload: Payload, allow: frozenset[str]) -> pd.DataFrame:
    """The data frame that MLflow's scoring server would make, with the values still as JSON typed them.

    Raises:
        MalformedPayload: the payload is no table.
        SignatureMismatch: it has names, and the schema has none to check them by.
    """
    try:
        frame = _as_mlflow_reads(schema, payload)
        set(frame.columns)  # raises for labels such as lists
    except MlflowException as error:
        raise MalformedPayload(
            error.message, expected=f"{payload.format.value} as MLflow reads it", got="something else"
        ) from error
    except CRASHES as error:
        raise MalformedPayload(
            f"The {payload.format.value} cannot be read as rows and columns: {error}.",
            expected="rows and columns",
            got=type(payload.content).__name__,
        ) from error
    if not schema.has_input_names():
        unchecked_names.refuse(list(frame.columns), allow)
    return frame


def missing_message(problems: list[Problem]) -> str:
    """MLflow's message, word for word, but with the extra columns in the order they came: it lists a set."""
    missing = [problem.column for problem in problems if problem.got == MISSING]
    extra = [problem.column for problem in problems if problem.got == EXTRA]
    note = f" Note that there were extra inputs: {extra}." if extra else ""
    return f"Model is missing inputs {missing}.{note}"


def extra_message(problems: list[Problem]) -> str:
    """Says which columns are too many, in MLflow's manner."""
    extra = [problem.column for problem in problems if problem.got == EXTRA]
    return f"Model has no inputs {extra}: extra inputs are refused."


def kind_name(value: Any) -> str:
    """Name of a value's type as refusals give it: numpy's for numbers, else JSON's."""
    value = value.item() if isinstance(value, np.generic) else value
    return _KIND_NAMES.get(type(value), type(value).__name__)


def _as_mlflow_reads(schema: Schema, payload: Payload) -> pd.DataFrame:
    content = payload.content
    if payload.format is Format.CSV:
        frame: pd.DataFrame = parse_csv_input(io.StringIO(content), schema=schema)
        if not isinstance(frame.index, pd.RangeIndex):  # pandas shifts the columns of rows that have too many cells
            raise ValueError("a row has more cells than the header")
    elif payload.format in (Format.SPLIT, Format.RECORDS):
        orient = payload.format.value.removeprefix("dataframe_")
        if isinstance(content, dict):
            _refuse_ragged(content.get("data"))
        frame = dataframe_from_parsed_json(content, pandas_orient=orient)  # type: ignore[no-untyped-call]
    elif isinstance(content, dict):
        frame = _frame_of_columns(schema, content)
    elif isinstance(content, list):
        names = schema.input_names() if schema.has_input_names() else []
        one_column = len(names) == 1 and not any(isinstance(item, dict) for item in content)
        if not one_column:
            _refuse_ragged(content)
        frame = pd.DataFrame({names[0]: content} if one_column else content)
    else:
        frame = pd.DataFrame([content])
    return frame


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
    is_one_row = all(not isinstance(value, (list, dict)) for value in columns.values())
    if is_one_row or (has_nested_types and (has_scalars or any(isinstance(value, dict) for value in columns.values()))):
        return pd.DataFrame([columns])
    return pd.DataFrame(columns)


def _column_problems(schema: Schema, frame: pd.DataFrame) -> Iterator[Problem]:
    if not schema.has_input_names():
        for name in frame.columns[len(schema.inputs) :]:
            yield Problem("columns", f"{len(schema.inputs)} columns", EXTRA, column=name)
        return
    for name in frame.columns[frame.columns.duplicated()]:
        yield Problem("columns", "each column once", "the same column twice", column=name)
    present = set(frame.columns)
    for required in schema.required_input_names():
        if required not in present:
            yield Problem("columns", "a column of this name", MISSING, column=required)
    expected = set(schema.input_names())
    for name in dict.fromkeys(frame.columns):
        if name not in expected:
            yield Problem("columns", "no column of this name", EXTRA, column=name)


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


def _examined(name: Any, type_: Any, series: pd.Series, *, required: bool) -> tuple[list[Problem], pd.Series]:
    """What is wrong with a column, value by value, and the column converted where JSON has no such type."""
    values = list(series)
    present = [(row, value) for row, value in enumerate(values) if not _is_null(value)]
    type_name = type_.name if isinstance(type_, DataType) else str(type_)
    problems = []
    if required and len(present) < len(values):
        rows = set(range(len(values))).difference(row for row, _ in present)
        problems = [Problem("null", type_name, "null", row=row, column=name) for row in sorted(rows)]
    if not isinstance(type_, DataType):
        return problems, series
    wrong = [(row, value) for row, value in present if not _is_kind(value, type_)]
    if not wrong:
        if type_ in _CONVERTED:
            try:
                series = _converted(series, type_) if present or type_ == DataType.float else series
            except (ValueError, TypeError, OverflowError) as error:
                problems.append(Problem("type", type_name, str(error), column=name))
        elif not _mlflow_admits(name, series, type_):
            wrong = present
    problems += [Problem("type", type_name, kind_name(value), row=row, column=name) for row, value in wrong]
    problems += [
        Problem("finite", "a finite number", str(value), row=row, column=name)
        for row, value in present
        if isinstance(value, (float, np.floating)) and math.isinf(value)
    ]
    return problems, series


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
        return abs(value) < _BEYOND_FLOAT32 or value in (math.inf, -math.inf)
    return True


def _stricter(problems: list[Problem]) -> str:
    """One sentence for the first problem, all of which MLflow would have let through."""
    first = problems[0]
    match first.rule:
        case "columns":
            return extra_message(problems)
        case "empty":
            return "The input is empty: at least one row is expected."
        case "null":
            return f"Column {first.column} is required and has null in row {first.row}: expected {first.expected}."
    where = "" if first.row is None else f" in row {first.row}"
    return f"Column {first.column} has {first.got}{where}: expected {first.expected}."
