"""Tensor signatures: the arrays that MLflow would enforce, made of JSON's numbers where nothing is lost by it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

# Private, as in verdict.py.
from mlflow.models.utils import _enforce_schema
from mlflow.types import Schema

from signet_torchserve import frames
from signet_torchserve.errors import MalformedPayload, Problem, SignatureMismatch
from signet_torchserve.payload import Format, Payload
from signet_torchserve.relaxations import Relaxation, refused

Array = np.ndarray[Any, Any]
Input = pd.DataFrame | Array | dict[str, Array]


def enforced(schema: Schema, payload: Payload, allow: frozenset[str]) -> Array | dict[str, Array]:
    """What pyfunc would feed: one array for an unnamed tensor, a dict of them for named ones.

    `allow` has the words of `relaxations` that hold.

    Raises:
        Refusal: the payload makes no such arrays, or the schema does not admit them.
    """
    is_table = payload.format in (Format.SPLIT, Format.RECORDS, Format.CSV)
    subject, problems = _frame(schema, payload, allow) if is_table else _arrays(schema, payload, allow)
    problems += _value_problems(subject)
    try:
        result: Array | dict[str, Array] = _enforce_schema(subject, schema)
    except MlflowException as error:
        generic = Problem("shape", expected=str(schema), got=error.message)
        raise SignatureMismatch(error.message, problems or [generic]) from error
    except frames.CRASHES as error:
        generic = Problem("shape", expected=str(schema), got=str(error))
        raise SignatureMismatch(
            f"The input does not fit the signature's tensors: {error}.", problems or [generic]
        ) from error
    # Mixed types were let through above; what is left would lose something, which MLflow does not mind in a data frame.
    lifted = allow - {Relaxation.MIXED_TYPES}
    problems = refused(problems, lifted) or refused(_value_problems(result), lifted)
    if problems:
        first = problems[0]
        where = "The input" if first.column is None else f"Input {first.column}"
        raise SignatureMismatch(f"{where} has {first.got}: expected {first.expected}.", problems)
    return result


def _frame(schema: Schema, payload: Payload, allow: frozenset[str]) -> tuple[Input, list[Problem]]:
    """Data frame of a table that is meant as tensors; of several columns for one tensor, it gets the dtype here."""
    frame = frames.read(schema, payload, allow).reset_index(drop=True)  # MLflow looks for a row labelled 0
    if frame.columns.has_duplicates:
        twice = list(frame.columns[frame.columns.duplicated()])
        problem = Problem("columns", "each input once", "the same input twice", column=twice[0])
        raise SignatureMismatch(f"The input has columns more than once: {twice}.", [problem])
    if schema.has_input_names():
        _refuse_other_names(schema, list(frame.columns), allow)
        frame = frame[[name for name in schema.input_names() if name in frame.columns]]
    if frame.empty and Relaxation.EMPTY not in allow:
        raise SignatureMismatch(
            "The input is empty: at least one row is expected.", [Problem("empty", "at least one row", "no rows")]
        )
    specs: dict[Any, Any] = schema.input_dict() if schema.has_input_names() else {}
    problems = []
    for name in frame.columns:
        spec = specs.get(name, schema.inputs[0])
        found = _type_problems(spec, name, np.array(list(frame[name]), dtype=object), allow)
        problems += found
        if not found and not schema.has_input_names() and len(frame.columns) > 1:
            try:
                frame[name] = frame[name].astype(spec.type)
            except frames.CRASHES as error:  # a cell that is a list
                problems.append(Problem("shape", str(spec), str(error), column=str(name)))
    return frame, problems


def _arrays(schema: Schema, payload: Payload, allow: frozenset[str]) -> tuple[Input, list[Problem]]:
    content = payload.content
    if not schema.has_input_names():
        if isinstance(content, dict):
            raise MalformedPayload(
                f"The signature has one unnamed tensor, and the input names {list(content)}.",
                expected="nested lists of numbers",
                got="a JSON object",
            )
        (unnamed,) = schema.inputs
        return _array(unnamed, None, content, allow)
    names: list[Any] = schema.input_names()
    if isinstance(content, list) and content and all(isinstance(row, dict) for row in content):
        given = dict.fromkeys(name for row in content for name in row)
        content = {name: [row[name] for row in content if name in row] for name in given}
    elif isinstance(content, list) and len(names) == 1:
        content = {names[0]: content}
    if not isinstance(content, dict):
        raise MalformedPayload(
            f"The signature has the named tensors {names}, and the input names none.",
            expected=f"an object with {names}",
            got=type(content).__name__,
        )
    _refuse_other_names(schema, list(content), allow)
    specs: dict[Any, Any] = schema.input_dict()
    arrays: dict[str, Array] = {}
    problems = []
    for name in names:
        if name in content:
            arrays[name], found = _array(specs[name], name, content[name], allow)
            problems += found
    return arrays, problems


def _refuse_other_names(schema: Schema, given: list[Any], allow: frozenset[str]) -> None:
    missing = [name for name in schema.required_input_names() if name not in given]
    extra = [name for name in given if name not in schema.input_names()]
    problems = [Problem("columns", "an input of this name", frames.MISSING, column=name) for name in missing]
    problems += [Problem("columns", "no input of this name", frames.EXTRA, column=name) for name in extra]
    if missing or refused(problems, allow):
        message = frames.missing_message(problems) if missing else frames.extra_message(problems)
        raise SignatureMismatch(message, problems)


def _array(spec: Any, name: str | None, content: Any, allow: frozenset[str]) -> tuple[Array, list[Problem]]:
    """Nested lists as an array of the spec's dtype; as JSON typed them, with the reasons, if something would be lost.

    Raises:
        SignatureMismatch: they are ragged.
    """
    try:
        array = np.array(content)
    except (ValueError, OverflowError) as error:
        raise SignatureMismatch(
            f"The input is not a regular array: {error}.",
            [Problem("shape", f"shape {spec.shape}", "lists of different lengths", column=name)],
        ) from error
    if not array.size:
        return array.astype(spec.type), []
    exact = np.array(content, dtype=object)
    problems = _type_problems(spec, name, exact, allow)
    if problems:
        return array, problems
    # By way of the exact values: numpy makes a double of 2**53 + 1 beside 1.0.
    return (exact if array.dtype.kind == "f" and spec.type.kind in "iu" else array).astype(spec.type), []


def _type_problems(spec: Any, name: Any, exact: Array, allow: frozenset[str]) -> list[Problem]:
    """Every value that the spec's dtype cannot hold, of an array of Python's own objects."""
    values = exact.ravel().tolist()
    if Relaxation.MIXED_TYPES in allow:
        values = _unmixed(spec.type, values)
    if _all_fit(spec.type, values):
        return []
    column = name if isinstance(name, (str, type(None))) else str(name)
    return [
        Problem("type", str(spec.type), frames.kind_name(value), row=index[0] if index else None, column=column)
        for index, value in np.ndenumerate(exact)
        if not _all_fit(spec.type, [value])
    ]


def _unmixed(dtype: np.dtype[Any], values: list[Any]) -> list[Any]:
    """Numbers for booleans that stand among numbers, or for a boolean dtype booleans for the zeros and ones."""
    kinds = set(map(type, values))
    if bool not in kinds or not {int, float} & kinds:
        return values
    if dtype.kind == "b":
        return [bool(value) if value in (0, 1) else value for value in values]
    return [int(value) if isinstance(value, bool) else value for value in values]


def _all_fit(dtype: np.dtype[Any], values: list[Any]) -> bool:
    """Whether JSON's values can be of a dtype, with nothing lost but what a float rounds away."""
    kinds = set(map(type, values))
    if not kinds:
        return True
    match dtype.kind:
        case "b":
            return kinds <= {bool}
        case "i" | "u":  # 2.0 is how some clients write 2
            info = np.iinfo(dtype)
            return (
                kinds <= {int, float}
                and (float not in kinds or all(map(_is_whole, values)))
                and info.min <= min(values)
                and max(values) <= info.max
            )
        case "f" | "c":
            finite = [value for value in values if not isinstance(value, float) or math.isfinite(value)]
            extremes = (min(finite), max(finite)) if kinds <= {int, float} and finite else ()
            return kinds <= {int, float} and not any(_is_beyond(value, dtype) for value in extremes)
        case "U" | "S":
            return kinds <= {str}
    return True


def _is_whole(value: float) -> bool:
    return isinstance(value, int) or value.is_integer()


def _is_beyond(value: float, dtype: np.dtype[Any]) -> bool:
    """Whether a finite number is too great for a dtype."""
    try:
        with np.errstate(over="ignore"):
            return bool(np.isinf(np.array(float(value)).astype(dtype)))
    except OverflowError:
        return True


def _value_problems(subject: Any) -> list[Problem]:
    named: Iterable[tuple[Any, Any]] = subject.items() if isinstance(subject, dict) else [(None, subject)]
    problems = []
    for name, array in named:
        if not isinstance(array, np.ndarray):
            continue
        if array.size == 0:
            problems.append(Problem("empty", "at least one value", "an empty input", column=name))
        elif array.dtype.kind in "fc" and not np.isfinite(array).all():
            problems += [
                Problem("finite", "a finite number", str(array[index]), row=index[0] if index else None, column=name)
                for index in map(tuple, np.argwhere(~np.isfinite(array)).tolist())
            ]
    return problems
