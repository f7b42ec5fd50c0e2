"""The names of a request's columns, compared with those of a signature; values don't matter here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlflow.types import Schema

from signet_contract.errors import MAX_VIOLATIONS, SignatureMismatch, Violation, listed

MISSING = "no such column"
EXTRA = "an extra column"


def require(schema: Schema, columns: Sequence[Any]) -> list[Violation]:
    """Violations for extra columns, twenty at most.

    Raises:
        SignatureMismatch: a column is there more than once, or a required one is missing.
    """
    present = set(columns)
    twice = _repeated(columns) if len(present) < len(columns) else []
    if not schema.has_input_names():
        missing, extra = [], columns[len(schema.inputs) :]
        not_extra = f"{len(schema.inputs)} columns"
    else:
        expected = set(schema.input_names())
        missing = [name for name in schema.required_input_names() if name not in present]
        extra = [name for name in (dict.fromkeys(columns) if twice else columns) if name not in expected]
        not_extra = "no column of this name"
    kinds = (
        (twice, "each column once", "the same column twice"),
        (missing, "a column of this name", MISSING),
        (extra, not_extra, EXTRA),
    )
    violations = [
        Violation("columns", expected, got, column=name)
        for names, expected, got in kinds
        for name in names[:MAX_VIOLATIONS]
    ]
    more = sum(len(names) for names, _, _ in kinds) - len(violations)
    if twice:
        raise SignatureMismatch(f"The input has columns more than once: {listed(twice)}.", violations, more)
    if missing:
        raise SignatureMismatch(missing_message(missing, extra), violations, more)
    return violations


def _repeated(columns: Sequence[Any]) -> list[Any]:
    seen: set[Any] = set()
    return [name for name in columns if name in seen or seen.add(name)]  # type: ignore[func-returns-value]  # `add` returns None, which is false


def missing_message(missing: Sequence[Any], extra: Sequence[Any]) -> str:
    """MLflow's message, word for word, but with the extra columns in the order they came; MLflow lists a set."""
    note = f" Note that there were extra inputs: {listed(extra)}." if extra else ""
    return f"Model is missing inputs {listed(missing)}.{note}"


def extra_message(extra: Sequence[Any]) -> str:
    """Says which columns are too many, in MLflow's manner."""
    return f"Model has no inputs {listed(extra)}: extra inputs are refused."
