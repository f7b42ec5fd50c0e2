"""MLflow itself as the oracle: its model input for a signature and a request, put together without Signet's code.

The table or array is built from the values as JSON typed them. Where JSON lacks a type (float, integer, datetime,
binary columns, and tensors) the values are cast as MLflow's scoring server casts them, if that loses nothing. Then come
MLflow's `_enforce_schema` and what its PyTorch flavor does with the result (`to_numpy(float32)`), but for two things:
a column that was left out stands as NaN in its own place, and so does a null, even of a date or of base64.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models.utils import _enforce_schema
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.utils.proto_json_utils import MlflowFailedTypeConversion, cast_df_types_according_to_schema

Crash = (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError)


@dataclass(frozen=True)
class Decision:
    """MLflow's answer: the array it would give the model, or its message; `crashed` where it raised something else."""

    array: Any = None
    message: str | None = None
    crashed: bool = False
    stricter: frozenset[str] = frozenset()
    """Those of the six documented rules that the request breaks, whatever MLflow says, each by what would lift it."""


def signature_document(inputs: Schema, params: Any = None) -> dict[str, Any]:
    """The `signature` entry of an MLmodel file."""
    return {"inputs": inputs.to_json(), "outputs": None, "params": params.to_json() if params else None}


def columns_schema(*specs: tuple[Any, ...]) -> Schema:
    """Column signature of (type, name) or (type, name, required) triples."""
    return Schema([ColSpec(type_, name, *rest) for type_, name, *rest in specs])


def decide_table(schema: Schema, frame: pd.DataFrame, allow: frozenset[str] = frozenset()) -> Decision:
    """MLflow's decision on a table for a column signature, with whole numbers made doubles if they are allowed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sent, frame = frame, frame.copy()
        stricter = frozenset(_broken_rules(schema, frame))
        for name, type_ in _types(schema, frame):
            if frame.columns.is_unique:
                frame[name] = _cast(frame[name], type_)
                if type_ == DataType.double and "whole_numbers" in allow:
                    frame[name] = _as_doubles(frame[name])
        try:
            enforced = _enforce_schema(frame, schema)
        except MlflowException as error:
            return Decision(message=error.message, stricter=stricter)
        except Crash as error:
            return Decision(message=str(error), crashed=True, stricter=stricter)
        try:
            given = pd.DataFrame(enforced.to_numpy(dtype=np.float32), columns=enforced.columns)
        except Crash as error:
            return Decision(message=str(error), crashed=True, stricter=stricter)
    names = schema.input_names() if schema.has_input_names() else list(enforced.columns)
    # Of a table without any of the columns MLflow forgets the rows, too.
    array = np.full((len(given) if len(given.columns) else len(sent), len(names)), np.nan, np.float32)
    for place, name in enumerate(names):
        for row in range(len(given)):
            if name in given and not _is_null(sent[name].iloc[row]):
                array[row, place] = given[name].iloc[row]
                stricter |= frozenset() if np.isfinite(array[row, place]) else {"non_finite"}
    return Decision(array=array, stricter=stricter)


def decide_array(spec: TensorSpec, content: Any, allow: frozenset[str] = frozenset()) -> Decision:
    """MLflow's decision on nested lists for a signature of one unnamed tensor."""
    try:
        array = np.array(content)
    except (ValueError, OverflowError) as error:
        return Decision(message=str(error), crashed=True)
    leaves = np.array(content, dtype=object).ravel().tolist()
    kinds = set(map(type, leaves))
    is_mixed = bool in kinds and len(kinds) > 1
    broken = {
        "empty": not array.size,
        "non_finite": any(isinstance(leaf, float) and not math.isfinite(leaf) for leaf in leaves),
        "mixed_types": is_mixed,
    }
    stricter = frozenset(rule for rule, is_broken in broken.items() if is_broken)
    fitting = {bool, int, float} if is_mixed and "mixed_types" in allow else {int, float}
    cast = array
    if not array.size:
        cast = array.astype(spec.type)
    elif kinds <= ({bool} if spec.type.kind == "b" and bool not in fitting else fitting):
        with contextlib.suppress(OverflowError, ValueError), np.errstate(all="ignore"):
            candidate = np.array(content, dtype=object).astype(spec.type)
            if spec.type.kind == "f":
                fits = np.isinf(candidate).sum() == sum(leaf in (math.inf, -math.inf) for leaf in leaves)
            else:
                fits = candidate.ravel().tolist() == leaves
            cast = candidate if fits else array
    try:
        return Decision(array=_enforce_schema(cast, Schema([spec])), stricter=stricter)
    except MlflowException as error:
        return Decision(message=error.message, stricter=stricter)


def _types(schema: Schema, frame: pd.DataFrame) -> list[tuple[Any, Any]]:
    if schema.has_input_names():
        return [(spec.name, spec.type) for spec in schema.inputs if spec.name in frame.columns]
    return list(zip(frame.columns, schema.input_types(), strict=False))


def _as_doubles(series: pd.Series) -> pd.Series:
    present = [value for value in series if not _is_null(value)]
    is_whole = all(isinstance(value, (int, np.integer)) and not isinstance(value, bool) for value in present)
    return series.astype(float) if present and is_whole and all(abs(value) <= 2**53 for value in present) else series


def _cast(series: pd.Series, type_: DataType) -> pd.Series:  # noqa: PLR0911 -- each is a reason
    """The scoring server's own cast of one column, if it loses nothing; else the column as it is."""
    rows, present = series.index, [value for value in series if not _is_null(value)]
    fits = {
        DataType.float: all(_is_number(value) for value in present),
        DataType.integer: all(
            _is_number(value) and (abs(value) == math.inf or value == math.floor(value)) for value in present
        ),
        DataType.datetime: all(isinstance(value, str) for value in present),
        DataType.binary: all(isinstance(value, str) and _is_base64(value) for value in present),
    }
    if not (present or type_ == DataType.float) or not fits.get(type_, False):
        return series
    if type_ == DataType.datetime:  # ISO dates and times may stand side by side; MLflow's server takes one format only
        with contextlib.suppress(ValueError):
            return pd.to_datetime(series, format="ISO8601").dt.as_unit("ns")
        return series
    if type_ == DataType.binary:  # beside a null MLflow's server decodes none
        series = series[[not _is_null(value) for value in series]]
    frame, schema = pd.DataFrame({"x": series}), Schema([ColSpec(type_, "x")])
    try:
        result: pd.Series = cast_df_types_according_to_schema(frame, schema)["x"]  # type: ignore[no-untyped-call]  # MLflow types it in part
    except MlflowFailedTypeConversion:
        return series
    if type_ == DataType.binary:
        return result.reindex(rows)
    if type_ == DataType.integer and [int(value) for value in present] != [int(value) for value in result]:
        return series
    if type_ == DataType.float and np.isinf(result).sum() != sum(abs(value) == math.inf for value in present):
        return series
    return result


def _broken_rules(schema: Schema, frame: pd.DataFrame) -> Iterator[str]:
    is_named = schema.has_input_names()
    names: list[Any] = schema.input_names() if is_named else list(frame.columns[: len(schema.inputs)])
    if any(name not in names for name in frame.columns):
        yield "extra_columns"
    if not is_named and [*map(str, frame.columns)] != [str(place) for place in range(len(frame.columns))]:
        yield "unchecked_names"
    if frame.empty:
        yield "empty"
    required = schema.required_input_names() if is_named else names
    if any(frame[name].isna().any() for name in required if name in frame):
        yield "nulls"
    for name, type_ in _types(schema, frame):
        present = [value for value in frame[name] if not _is_null(value)]
        if not all(_is_of_kind(value, type_) for value in present):
            yield "mixed_types"
        if any(_is_number(value) and value in (math.inf, -math.inf) for value in present):
            yield "non_finite"


def _is_null(value: Any) -> bool:
    return value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, (bool, np.bool_))


def _is_base64(text: str) -> bool:
    return len("".join(text.split())) % 4 == 0 and all(c.isascii() and (c.isalnum() or c in "+/=\n") for c in text)


def _is_of_kind(value: Any, type_: DataType) -> bool:
    if type_ == DataType.boolean:
        return isinstance(value, (bool, np.bool_))
    if type_ in (DataType.string, DataType.binary, DataType.datetime):
        return isinstance(value, str)
    if type_ == DataType.long:
        return _is_number(value) and not isinstance(value, (float, np.floating))
    return _is_number(value)
