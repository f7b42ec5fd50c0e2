"""Column signatures: the table that MLflow has enforced, as the float32 array that the model gets.

Texts, dates and great numbers become float32 only here: "nan" becomes NaN, and 1e39 infinity. So the rule that numbers
are finite is applied once more, to the float32 values.
"""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np
import pandas as pd
from mlflow.types import DataType, Schema

from signet_contract.errors import SignatureMismatch, Violation
from signet_contract.model_input import Array
from signet_contract.policy import Policy

_CONVERSION_ERRORS = (TypeError, ValueError, OverflowError)


def model_input_of(schema: Schema, enforced: pd.DataFrame, sent: pd.DataFrame, policy: frozenset[str]) -> Array:
    """float32 [rows, columns of the signature], with NaN for each null and for optional columns that were left out.

    pyfunc leaves such a column out, and those behind it move up. Here each column keeps its place.

    Args:
        schema: the columns of the signature.
        enforced: what MLflow makes of the table: the signature's columns in its order, without those left out.
        sent: the same columns, perhaps with others behind them, as JSON typed them.
        policy: words of `policy` that hold.

    Raises:
        SignatureMismatch: a value is no number, or float32 has no such number.
    """
    if not enforced.shape[1]:  # without columns MLflow loses the rows
        return np.full((len(sent), len(schema.inputs)), np.nan, np.float32)
    try:
        with np.errstate(over="ignore"):
            values = enforced.to_numpy(dtype=np.float32)
    except _CONVERSION_ERRORS as error:
        raise SignatureMismatch(
            f"The signature admits this input, but the model takes numbers only: {error}.",
            [Violation(rule="model", expected="values that convert to float32", got=str(error))],
        ) from error
    is_lost = ~np.isfinite(values)
    if is_lost.any() or DataType.datetime in schema.input_types():  # pandas makes a number of a date that is null
        sent = sent.iloc[:, : enforced.shape[1]]
        nulls = sent.isna().to_numpy(dtype=bool)
        if Policy.NON_FINITE not in policy:
            _reject_lost(sent, is_lost & ~nulls)
        values = np.where(nulls, np.float32(np.nan), values)
    names = schema.input_names() if schema.has_input_names() else list(enforced.columns)
    inputs = np.full((len(enforced), len(names)), np.nan, np.float32)
    inputs[:, [names.index(name) for name in enforced.columns]] = values
    return inputs


def _reject_lost(sent: pd.DataFrame, is_lost: Array) -> None:
    if not is_lost.any():
        return
    values = sent.to_numpy(dtype=object)
    violations = [
        Violation("finite", "a finite number in float32", _shown(values[row, place]), row, sent.columns[place])
        for row, place in np.argwhere(is_lost).tolist()
    ]
    first = violations[0]
    raise SignatureMismatch(
        f"Column {first.column} has {first.got} in row {first.row}: expected {first.expected}.", violations
    )


def _shown(value: Any) -> str:
    return reprlib.repr(value) if isinstance(value, str) else str(value)
