"""Column signatures: the data frame that MLflow would enforce, examined value by value."""

from __future__ import annotations

import csv
import io
import math
import re
from itertools import islice
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException

# Private, as in decision.py.
from mlflow.models.utils import _enforce_schema
from mlflow.pyfunc.scoring_server import parse_csv_input
from mlflow.types import DataType, Schema
from mlflow.utils.proto_json_utils import dataframe_from_parsed_json
from pandas.api.types import is_numeric_dtype

from signet_contract import unchecked_names
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.enforcement import column_names, column_values, list_access
from signet_contract.enforcement.column_values import CRASHES
from signet_contract.enforcement.value_kinds import types_of
from signet_contract.errors import MalformedPayload, SignatureMismatch, Violation, listed
from signet_contract.policy import rejecting

MOST_EXTRA = 10_000  # columns beside the signature's
_MOST_LEVELS = 20


def enforced(
    schema: Schema, decoded: DecodedRequest, policy: frozenset[str], *, is_right: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The data frame that pyfunc would give the model, in the signature's types, and the same columns as sent.

    `policy` has the words that hold; `is_right` says that the excerpt was admitted: no value needs checking again.

    Raises:
        Rejected: the request is no table, or the schema does not admit it.
    """
    frame = read(schema, decoded, policy)
    violations = column_names.require(schema, list(frame.columns))
    if frame.empty:
        violations.append(Violation(rule="empty", expected="at least one row", got="no rows"))
    if schema.has_input_names():
        names = [name for name in schema.input_names() if name in frame.columns]
        frame = frame if names == list(frame.columns) else frame[names]
    stricter, converted = column_values.examined(schema, frame, policy, is_right=is_right)
    try:
        result: pd.DataFrame = _enforce_schema(converted, schema)
    except (MlflowException, *CRASHES) as error:
        violations += column_values.of_rejected(schema, frame, policy)  # the stricter ones among them
        got = error.message if isinstance(error, MlflowException) else column_values.without_place(error)
        message = got if isinstance(error, MlflowException) else f"The signature's types do not fit the input: {got}."
        generic = Violation(rule="signature", expected=str(schema), got=got)
        raise SignatureMismatch(message, violations or [generic]) from error
    violations += stricter
    if violations := rejecting(violations, policy):
        raise SignatureMismatch(_stricter(violations), violations)
    return result, frame


def read(schema: Schema, decoded: DecodedRequest, policy: frozenset[str]) -> pd.DataFrame:
    """The data frame that MLflow's scoring server would make, with the values still as JSON typed them.

    Raises:
        MalformedPayload: the request is no table.
        SignatureMismatch: the request names its columns, and the schema has no names to check them by.
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
            got=list_access.type_name(decoded.content),
        ) from error
    if not schema.has_input_names():
        unchecked_names.reject(list(frame.columns), policy)
    return frame


def _as_mlflow_reads(schema: Schema, decoded: DecodedRequest) -> pd.DataFrame:
    content = decoded.content
    if isinstance(content, pd.DataFrame):  # a CSV that was read before
        return content
    if decoded.format is Format.CSV:
        _reject_wide(schema, content)
        frame: pd.DataFrame = parse_csv_input(_file(content), schema=schema)
        _reject_longer_rows(content)
        _restore_booleans(frame, content)
    elif decoded.format in (Format.SPLIT, Format.RECORDS):
        orient = decoded.format.value.removeprefix("dataframe_")
        if decoded.format is Format.SPLIT and isinstance(content, dict):
            _reject_levels(content)
            _reject_dropped(content)
        _reject_ragged(content.get("data") if isinstance(content, dict) else content)
        frame = dataframe_from_parsed_json(content, pandas_orient=orient)  # type: ignore[no-untyped-call]  # MLflow types it in part
        if isinstance(content, dict) and content.get("index") is not None:
            _reject_repeated(content.get("data"), len(frame))
    elif isinstance(content, dict):
        frame = _frame_of_columns(schema, content)
    elif isinstance(content, list):
        expected = schema.input_names() if schema.has_input_names() else []
        one_column = len(expected) == 1 and not any(isinstance(item, dict) for item in content)
        if not one_column:
            _reject_ragged(content)
        frame = pd.DataFrame({expected[0]: content} if one_column else content)
    else:
        frame = pd.DataFrame([content])
    return frame


def _file(text: str) -> io.BytesIO:
    return io.BytesIO(text.encode())  # a StringIO would have four bytes for each character


def max_width(schema: Schema) -> float:
    """The most columns of a table, and so values of a row; a wider table would take very long to make."""
    are_plain = all(isinstance(type_, DataType) for type_ in schema.input_types())
    return len(schema.inputs) + MOST_EXTRA if are_plain else math.inf


def too_wide(schema: Schema, what: str, width: int) -> MalformedPayload:
    """The rejection of a request in which a row has at least `width` values."""
    return MalformedPayload(
        f"The {what} cannot be read as rows and columns: a row has at least {width} values, and the signature has "
        f"{len(schema.inputs)} columns.",
        expected="rows and columns",
        got=f"at least {width} values in a row",
    )


def _reject_wide(schema: Schema, text: str) -> None:
    for line in islice(re.finditer(r"[^\r\n]+", text), 3):  # the header, or the first row
        if line[0].count(",") > len(schema.inputs) + MOST_EXTRA:
            cells = len(next(csv.reader([line[0]])))
            if cells > len(schema.inputs) + MOST_EXTRA:
                raise too_wide(schema, "csv", cells)


def _reject_longer_rows(text: str) -> None:
    """Reject a table whose first row has more cells than its header: pandas takes the first cells for row labels.

    Read without a header, such a row is an error to pandas. A later row that is longer is one with a header, too.
    """
    try:
        pd.read_csv(_file(text), header=None, nrows=2, dtype=str)
    except pd.errors.ParserError as error:
        raise ValueError("a row has more cells than the header") from error


def _restore_booleans(frame: pd.DataFrame, text: str) -> None:
    """Put booleans back into columns of true and false, which pandas has read as the signature's numbers."""
    lowered = text.lower()
    if "true" not in lowered and "false" not in lowered:
        return
    untyped = pd.read_csv(_file(text))
    for name in untyped.columns:
        if is_numeric_dtype(frame[name]) and types_of(untyped[name].dropna().tolist()) == [bool]:
            frame[name] = untyped[name]


def _reject_ragged(rows: Any) -> None:
    """Reject rows of several lengths. Pandas 3 pads them with nulls, and warns that it will stop doing so."""
    if not isinstance(rows, list) or list not in (types := types_of(rows)):
        return
    lists = rows if types == [list] else [row for row in rows if type(row) is list]
    lengths = sorted(set(map(len, lists)))
    if len(lengths) > 1:
        raise ValueError(f"some rows have {lengths[0]} values, and others {lengths[-1]}")
    if len(lists) < len(rows):
        raise ValueError("some rows are lists and some are not")


def _reject_levels(split: dict[str, Any]) -> None:
    """Reject many lists in the place of labels. Pandas takes each for a level, and needs 0.1 ms for it."""
    for part in ("columns", "index"):
        labels = split.get(part)
        if isinstance(labels, list) and len(labels) > _MOST_LEVELS and types_of(labels) == [list]:
            raise ValueError(f"{part!r} has {len(labels)} lists in the place of labels")


def _reject_dropped(split: dict[str, Any]) -> None:
    """Reject what pandas would drop: from objects in `data` it takes only what `columns` and `index` name."""
    columns, data = split.get("columns"), split.get("data")
    if isinstance(data, dict) and split.get("index") is not None:
        raise ValueError("'data' is an object, of which 'index' would choose rows")
    rows = data if isinstance(data, list) else [data]
    names = set().union(*(row for row in rows if isinstance(row, dict))) if dict in types_of(rows) else set()
    if names and isinstance(columns, (list, dict)) and (dropped := names - set(columns)):
        raise ValueError(f"'data' has {listed(sorted(dropped))}, and 'columns' has not")


def _reject_repeated(data: Any, labels: int) -> None:
    """Reject another number of labels than of rows: for each label pandas repeats a lone row, or makes one of nulls."""
    rows = len(data) if isinstance(data, list) else 1
    if labels != rows:
        raise ValueError(f"'index' has labels for {labels} rows, and 'data' has {rows}")


def _frame_of_columns(schema: Schema, columns: dict[str, Any]) -> pd.DataFrame:
    has_nested_types = any(not isinstance(type_, DataType) for type_ in schema.input_types())
    are_scalars = bool(columns) and not any(isinstance(value, (list, dict)) for value in columns.values())
    are_lists = all(isinstance(value, list) for value in columns.values())
    if are_scalars or (has_nested_types and not are_lists):  # one row
        return pd.DataFrame([columns])
    return pd.DataFrame(columns)


def _stricter(violations: list[Violation]) -> str:
    """A sentence for the first of some violations that MLflow would have let through."""
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
