"""MLflow's own verdict on a request, and the name of everything that is wrong with it.

Slow (pandas, some hundred microseconds) and exact: the frame or arrays that MLflow's scoring server would build, of the values as JSON
typed them, go through `mlflow.models.utils._enforce_schema`. Five rules are stricter than MLflow's, all for values that it would
let through silently: extra columns, nulls in required columns, non-finite numbers, empty inputs, and values of the wrong JSON kind in a
column that pandas coerces (`[1.5, "3.5"]`, `[1.5, true]`).
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature

# Private, and the only way to MLflow's verdict without a loaded pyfunc model; tests/test_verdict.py pins what is used of them.
from mlflow.models.utils import _enforce_mlflow_datatype, _enforce_params_schema, _enforce_schema
from mlflow.pyfunc.scoring_server import parse_csv_input
from mlflow.types import DataType, Schema
from mlflow.utils.proto_json_utils import dataframe_from_parsed_json

from signet_torchserve.errors import MalformedPayload, Problem, SignatureMismatch
from signet_torchserve.payload import Format, Payload
from signet_torchserve.signature import Feed

# JSON has no float32, int32 or date: these take what JSON has, where nothing is lost by it.
_CONVERTED = {DataType.float, DataType.integer, DataType.datetime, DataType.binary}

_KINDS: dict[DataType, tuple[type, ...]] = {
    DataType.double: (float, int),
    DataType.float: (float, int),
    DataType.long: (int,),
    DataType.integer: (int,),
    DataType.boolean: (bool,),
    DataType.string: (str,),
    DataType.binary: (str, bytes),
    DataType.datetime: (str, pd.Timestamp),
}


def decide(document: dict[str, Any], payload: Payload) -> Feed:
    """What pyfunc would feed the model for `payload`, under the signature `document` of an MLmodel file.

    Raises:
        Refusal: with MLflow's message where MLflow refuses.
    """
    signature = _signature(tuple(sorted((key, value) for key, value in document.items() if key in ("inputs", "outputs", "params"))))
    schema: Schema = signature.inputs
    params = _params(signature, payload)
    if schema.is_tensor_spec():
        return Feed(_tensors(schema, payload), params, framed=False)
    frame = _frame(schema, payload)
    enforced = _enforced_frame(schema, frame)
    try:
        with np.errstate(over="ignore"):
            inputs = enforced.to_numpy(dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise SignatureMismatch(
            f"The signature admits this input, but the model takes numbers only: {error}.",
            [Problem(rule="model", expected="values that convert to float32", got=str(error))],
        ) from error
    return Feed(inputs, params, framed=True)


@lru_cache(maxsize=1)
def _signature(document: tuple[tuple[str, Any], ...]) -> ModelSignature:
    return ModelSignature.from_dict(dict(document))


def _params(signature: ModelSignature, payload: Payload) -> dict[str, Any]:
    if signature.params is None:
        return {}  # as MLflow, which ignores params that the signature does not declare
    try:
        return dict(_enforce_params_schema(payload.params, signature.params) or {})
    except MlflowException as error:
        raise SignatureMismatch(
            error.message, [Problem(rule="params", expected=str(signature.params), got=repr(payload.params))]
        ) from error


def _frame(schema: Schema, payload: Payload) -> pd.DataFrame:
    """The data frame that MLflow's scoring server would make, with the values still as JSON typed them."""
    try:
        frame = _as_mlflow_reads(schema, payload)
    except MlflowException as error:
        raise MalformedPayload(error.message, expected=f"{payload.format.value} as MLflow reads it", got="something else") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise MalformedPayload(
            f"The {payload.format.value} cannot be read as rows and columns: {error}.",
            expected="rows and columns",
            got=type(payload.content).__name__,
        ) from error
    return frame


def _as_mlflow_reads(schema: Schema, payload: Payload) -> pd.DataFrame:
    content = payload.content
    match payload.format:
        case Format.CSV:
            return parse_csv_input(io.StringIO(content), schema=schema)
        case Format.SPLIT:
            return dataframe_from_parsed_json(content, pandas_orient="split")
        case Format.RECORDS:
            return dataframe_from_parsed_json(content, pandas_orient="records")
    if isinstance(content, dict):
        nested = any(not isinstance(type_, DataType) for type_ in schema.input_types())
        if nested and not all(isinstance(value, list) for value in content.values()):
            return pd.DataFrame([content])
        if any(isinstance(value, (list, dict)) for value in content.values()):
            return pd.DataFrame(content)
        return pd.DataFrame([content])
    if isinstance(content, list):
        names = schema.input_names() if schema.has_input_names() else []
        if len(names) == 1 and not any(isinstance(item, dict) for item in content):
            return pd.DataFrame({names[0]: content})
        return pd.DataFrame(content)
    return pd.DataFrame([content])


def _enforced_frame(schema: Schema, frame: pd.DataFrame) -> pd.DataFrame:
    problems = list(_column_problems(schema, frame))
    if frame.columns.has_duplicates:
        twice = list(frame.columns[frame.columns.duplicated()])
        raise SignatureMismatch(f"The input has columns more than once: {twice}.", problems)
    missing = [problem.column for problem in problems if problem.got == "no such column"]
    extra = [problem.column for problem in problems if problem.got == "an extra column"]
    if missing:
        # MLflow's message, word for word, but with the extra columns in the order they came: it lists a set.
        note = f" Note that there were extra inputs: {extra}." if extra else ""
        raise SignatureMismatch(f"Model is missing inputs {missing}.{note}", problems)
    if not len(frame):
        problems.append(Problem(rule="empty", expected="at least one row", got="no rows"))
    frame = frame.copy(deep=False)
    for name, type_ in _typed_columns(schema, frame):
        found, frame[name] = _examined(schema, name, type_, frame[name])
        problems.extend(found)
    try:
        enforced = _enforce_schema(frame, schema)
    except MlflowException as error:
        raise SignatureMismatch(error.message, problems or [Problem(rule="signature", expected=str(schema), got=error.message)]) from error
    except (AttributeError, TypeError, ValueError, IndexError, KeyError) as error:
        # MLflow crashes on some nested and duplicate values where it ought to refuse.
        message = f"The signature's types do not fit the input: {error}."
        raise SignatureMismatch(message, problems or [Problem(rule="signature", expected=str(schema), got=str(error))]) from error
    if problems:
        raise SignatureMismatch(_stricter(problems), problems)
    return enforced


def _column_problems(schema: Schema, frame: pd.DataFrame) -> Iterator[Problem]:
    if not schema.has_input_names():
        for position in range(len(schema.inputs), len(frame.columns)):
            yield Problem("columns", f"{len(schema.inputs)} columns", "an extra column", column=frame.columns[position])
        return
    for name in frame.columns[frame.columns.duplicated()]:
        yield Problem("columns", "each column once", "the same column twice", column=name)
    present = set(frame.columns)
    for name in schema.required_input_names():
        if name not in present:
            yield Problem("columns", "a column of this name", "no such column", column=name)
    expected = set(schema.input_names())
    for name in dict.fromkeys(frame.columns):
        if name not in expected:
            yield Problem("columns", "no column of this name", "an extra column", column=name)


def _typed_columns(schema: Schema, frame: pd.DataFrame) -> list[tuple[Any, Any]]:
    if schema.has_input_names():
        return [(name, spec.type) for name, spec in schema.input_dict().items() if name in frame.columns]
    return list(zip(frame.columns, schema.input_types(), strict=False))


def _examined(schema: Schema, name: Any, type_: Any, series: pd.Series) -> tuple[list[Problem], pd.Series]:
    """What is wrong with a column, value by value, and the column converted where JSON has no such type."""
    required = not schema.has_input_names() or schema.input_dict()[name].required
    problems: list[Problem] = []
    nulls = [_is_null(value) for value in series]
    if required:
        problems += [
            Problem("null", str(_name(type_)), "null", row=row, column=name) for row, null in enumerate(nulls) if null
        ]
    if not isinstance(type_, DataType):
        return problems, series
    wrong_kind = [
        Problem("type", type_.name, _got(value), row=row, column=name)
        for row, (value, null) in enumerate(zip(series, nulls, strict=True))
        if not null and not _is_kind(value, type_)
    ]
    problems += wrong_kind
    problems += [
        Problem("finite", "a finite number", str(value), row=row, column=name)
        for row, value in enumerate(series)
        if isinstance(value, (float, np.floating)) and math.isinf(value)
    ]
    if type_ in _CONVERTED and not wrong_kind and not all(nulls):
        try:
            series = _converted(series, type_)
        except (ValueError, TypeError, OverflowError) as error:
            problems.append(Problem("type", type_.name, str(error), column=name))
        return problems, series
    if not wrong_kind:
        try:
            _enforce_mlflow_datatype(name, series, type_)
        except MlflowException:
            refused = [
                Problem("type", type_.name, _got(value), row=row, column=name)
                for row, (value, null) in enumerate(zip(series, nulls, strict=True))
                if not null
            ]
            problems += refused
    return problems, series


def _converted(series: pd.Series, type_: DataType) -> pd.Series:
    """The column in the type that JSON lacks.

    Raises:
        ValueError: something would be lost.
    """
    present = series.dropna()
    match type_:
        case DataType.float:
            with np.errstate(over="raise"):
                try:
                    return series.astype(np.float32)
                except FloatingPointError as error:
                    raise ValueError("a number beyond float32") from error
        case DataType.integer:
            if any(not -(2**31) <= value < 2**31 for value in present):
                raise ValueError("a number beyond int32")
            return series.astype(np.int32)
        case DataType.datetime:
            return pd.to_datetime(series, format="ISO8601").dt.as_unit("ns")
        case _:  # binary: base64, as MLflow's scoring server takes it
            import base64  # noqa: PLC0415

            return series.map(lambda text: text if _is_null(text) or isinstance(text, bytes) else base64.b64decode(text, validate=True))


def _is_null(value: Any) -> bool:
    return value is None or value is pd.NaT or (isinstance(value, (float, np.floating)) and math.isnan(value))


def _is_kind(value: Any, type_: DataType) -> bool:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool):
        return type_ == DataType.boolean
    return isinstance(value, _KINDS[type_])


def _got(value: Any) -> str:
    value = value.item() if isinstance(value, np.generic) else value
    names = {bool: "boolean", int: "int64", float: "float64", str: "string", list: "array", dict: "object", bytes: "binary"}
    return names.get(type(value), type(value).__name__)


def _name(type_: Any) -> Any:
    return type_.name if isinstance(type_, DataType) else type_


def _stricter(problems: list[Problem]) -> str:
    """One sentence for the first problem that MLflow would have let through."""
    first = problems[0]
    match first.rule:
        case "columns":
            names = [problem.column for problem in problems if problem.rule == "columns"]
            return f"The signature has no inputs {names}: extra columns are refused."
        case "empty":
            return "The input is empty: at least one row is expected."
        case "null":
            return f"Column {first.column} is required and row {first.row} has null: expected {first.expected}."
        case "finite":
            return f"Column {first.column} has {first.got} in row {first.row}: expected a finite number."
        case _:
            where = "" if first.row is None else f" in row {first.row}"
            return f"Column {first.column} has {first.got}{where}: expected {first.expected}."


def _tensors(schema: Schema, payload: Payload) -> np.ndarray[Any, Any] | dict[str, np.ndarray[Any, Any]]:
    if payload.format in (Format.SPLIT, Format.RECORDS, Format.CSV):
        subject: Any = _frame(schema, payload)
        if payload.format is not Format.CSV and not schema.has_input_names() and len(subject.columns) > 1:
            subject = subject.astype(schema.inputs[0].type) if _all_numbers(subject) else subject
    else:
        subject = _arrays(schema, payload)
    problems = _tensor_problems(subject)
    try:
        enforced = _enforce_schema(subject, schema)
    except MlflowException as error:
        raise SignatureMismatch(error.message, problems or [Problem(rule="shape", expected=str(schema), got=error.message)]) from error
    except (AttributeError, TypeError, ValueError, IndexError, KeyError) as error:
        message = f"The input does not fit the signature's tensors: {error}."
        raise SignatureMismatch(message, problems or [Problem(rule="shape", expected=str(schema), got=str(error))]) from error
    problems += _tensor_problems(enforced)
    if problems:
        first = problems[0]
        where = "The input" if first.column is None else f"Input {first.column}"
        raise SignatureMismatch(f"{where} has {first.got}: expected {first.expected}.", problems)
    return enforced  # type: ignore[no-any-return]


def _all_numbers(frame: pd.DataFrame) -> bool:
    return all(dtype.kind in "iuf" for dtype in frame.dtypes)


def _arrays(schema: Schema, payload: Payload) -> np.ndarray[Any, Any] | dict[str, np.ndarray[Any, Any]]:
    content = payload.content
    if not schema.has_input_names():
        if isinstance(content, dict):
            raise MalformedPayload(
                f"The signature has one unnamed tensor, and the input names {list(content)}.",
                expected="nested lists of numbers",
                got="a JSON object",
            )
        return _array(schema.inputs[0], None, content)
    if isinstance(content, list) and content and all(isinstance(row, dict) for row in content):
        names = list(dict.fromkeys(name for row in content for name in row))
        content = {name: [row[name] for row in content if name in row] for name in names}
    elif len(schema.inputs) == 1 and isinstance(content, list):
        content = {schema.input_names()[0]: content}
    if not isinstance(content, dict):
        raise MalformedPayload(
            f"The signature has the named tensors {schema.input_names()}, and the input names none.",
            expected=f"an object with {schema.input_names()}",
            got=type(content).__name__,
        )
    specs = schema.input_dict()
    missing = [name for name in schema.required_input_names() if name not in content]
    extra = [name for name in content if name not in specs]
    if missing or extra:
        problems = [Problem("columns", "an input of this name", "no such column", column=name) for name in missing]
        problems += [Problem("columns", "no input of this name", "an extra column", column=name) for name in extra]
        if not missing:
            raise SignatureMismatch(_stricter(problems), problems)
        note = f" Note that there were extra inputs: {extra}." if extra else ""
        raise SignatureMismatch(f"Model is missing inputs {missing}.{note}", problems)
    return {name: _array(specs[name], name, values) for name, values in content.items()}


def _array(spec: Any, name: str | None, content: Any) -> np.ndarray[Any, Any]:
    """Nested lists as an array of the spec's dtype, if nothing is lost by it."""
    expected = np.dtype(spec.type)
    try:
        array = np.array(content)
    except ValueError as error:
        raise SignatureMismatch(
            f"The input is not a regular array: {error}.",
            [Problem("shape", f"shape {spec.shape}", "rows of different lengths", column=name)],
        ) from error
    kinds = {"b": "b", "i": "iu", "u": "iu", "f": "iuf", "c": "iufc"}.get(expected.kind)
    values = set(map(type, _leaves(content)))
    mixed = bool in values and len(values) > 1
    if kinds is None or (array.size and (mixed or array.dtype.kind not in kinds) and not _integral(array, expected, mixed=mixed)):
        if kinds is None:
            return array.astype(expected) if expected.kind in "US" else array
        got = " and ".join(sorted(_got(kind()) if kind in (bool, int, float, str, list, dict) else "null" for kind in values))
        raise SignatureMismatch(
            f"dtype of input {array.dtype} does not match expected dtype {expected}",
            [Problem("type", str(expected), got, column=name)],
        )
    with np.errstate(over="ignore"):
        converted = array.astype(expected)
    if expected.kind in "iu" and array.size and not np.array_equal(converted, array):
        raise SignatureMismatch(
            f"The input has numbers that {expected} cannot hold.", [Problem("type", str(expected), "a number beyond it", column=name)]
        )
    return converted


def _integral(array: np.ndarray[Any, Any], expected: np.dtype[Any], *, mixed: bool) -> bool:
    """Whether floats stand where integers are expected and lose nothing by becoming them."""
    return not mixed and expected.kind in "iu" and array.dtype.kind == "f" and bool(np.all(array == np.floor(array)))


def _leaves(content: Any) -> Iterator[Any]:
    if isinstance(content, list):
        for item in content:
            yield from _leaves(item)
    else:
        yield content


def _tensor_problems(subject: Any) -> list[Problem]:
    named = subject.items() if isinstance(subject, dict) else [(None, subject)]
    problems = []
    for name, array in named:
        if not isinstance(array, np.ndarray):
            continue
        if array.size == 0:
            problems.append(Problem("empty", "at least one value", "an empty input", column=name))
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array))[0][0]) if array.ndim else None
            problems.append(Problem("finite", "finite numbers", "a number that is not finite", row=row, column=name))
    return problems
