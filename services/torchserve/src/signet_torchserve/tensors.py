"""Tensor signatures: the arrays that MLflow would enforce, made of JSON's numbers where nothing is lost by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException

# Private, as in verdict.py.
from mlflow.models.utils import _enforce_schema
from mlflow.types import Schema

from signet_torchserve import frames
from signet_torchserve.errors import MalformedPayload, Problem, SignatureMismatch
from signet_torchserve.payload import Format, Payload

Array = np.ndarray[Any, Any]

# Kinds of numpy arrays (`dtype.kind`) that JSON values may make, by the kind that the signature asks for.
_ADMITTED = {"b": "b", "i": "iu", "u": "iu", "f": "iuf", "c": "iuf", "U": "U", "S": "U", "O": "biufUO"}


def enforced(schema: Schema, payload: Payload) -> Array | dict[str, Array]:
    """What pyfunc would feed: one array for an unnamed tensor, a dict of them for named ones.

    Raises:
        Refusal: the payload makes no such arrays, or the schema does not admit them.
    """
    if payload.format in (Format.SPLIT, Format.RECORDS, Format.CSV):
        subject: Any = _frame(schema, payload)
    else:
        subject = _arrays(schema, payload)
    problems = _value_problems(subject)
    try:
        result: Array | dict[str, Array] = _enforce_schema(subject, schema)
    except MlflowException as error:
        generic = Problem(rule="shape", expected=str(schema), got=error.message)
        raise SignatureMismatch(error.message, problems or [generic]) from error
    except (AttributeError, TypeError, ValueError, IndexError, KeyError) as error:
        generic = Problem(rule="shape", expected=str(schema), got=str(error))
        raise SignatureMismatch(
            f"The input does not fit the signature's tensors: {error}.", problems or [generic]
        ) from error
    problems = problems or _value_problems(result)
    if problems:
        first = problems[0]
        where = "The input" if first.column is None else f"Input {first.column}"
        raise SignatureMismatch(f"{where} has {first.got}: expected {first.expected}.", problems)
    return result


def _frame(schema: Schema, payload: Payload) -> Any:
    """Data frame of a table that is meant as a tensor; of scalars only, it gets the tensor's dtype here."""
    frame = frames.read(schema, payload)
    if frame.empty:
        raise SignatureMismatch(
            "The input is empty: at least one row is expected.", [Problem("empty", "at least one row", "no rows")]
        )
    if not schema.has_input_names() and len(frame.columns) > 1:
        spec = schema.inputs[0]
        return frame.astype({name: _array(spec, None, list(frame[name])).dtype for name in frame.columns})
    return frame


def _arrays(schema: Schema, payload: Payload) -> Array | dict[Any, Array]:
    content = payload.content
    if not schema.has_input_names():
        if isinstance(content, dict):
            raise MalformedPayload(
                f"The signature has one unnamed tensor, and the input names {list(content)}.",
                expected="nested lists of numbers",
                got="a JSON object",
            )
        return _array(schema.inputs[0], None, content)
    names = schema.input_names()
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
    _refuse_other_names(schema, content)
    specs: dict[Any, Any] = schema.input_dict()
    return {name: _array(specs[name], name, content[name]) for name in names if name in content}


def _refuse_other_names(schema: Schema, content: dict[str, Any]) -> None:
    missing = [name for name in schema.required_input_names() if name not in content]
    extra = [name for name in content if name not in schema.input_names()]
    problems = [Problem("columns", "an input of this name", frames.MISSING, column=name) for name in missing]
    problems += [Problem("columns", "no input of this name", frames.EXTRA, column=name) for name in extra]
    if problems:
        message = frames.missing_message(problems) if missing else frames.extra_message(problems)
        raise SignatureMismatch(message, problems)


def _array(spec: Any, name: str | int | None, content: Any) -> Array:
    """Nested lists as an array of the spec's dtype.

    Raises:
        SignatureMismatch: they are ragged, or something would be lost.
    """
    expected = np.dtype(spec.type)
    try:
        array = np.array(content)
    except (ValueError, OverflowError) as error:
        raise SignatureMismatch(
            f"The input is not a regular array: {error}.",
            [Problem("shape", f"shape {spec.shape}", "lists of different lengths", column=name)],
        ) from error
    if not array.size:
        return array.astype(expected)
    kinds = set(map(type, _leaves(content)))
    is_mixed = bool in kinds and len(kinds) > 1
    # A float that is whole may stand for an integer: 2.0, which some clients write for 2.
    is_whole = expected.kind in "iu" and array.dtype.kind == "f" and bool(np.all(array == np.floor(array)))
    if is_mixed or not (array.dtype.kind in _ADMITTED.get(expected.kind, "") or is_whole):
        got = " and ".join(sorted(frames.kind_name(kind() if kind is not type(None) else None) for kind in kinds))
        raise SignatureMismatch(
            f"dtype of input {array.dtype} does not match expected dtype {expected}",
            [Problem("type", str(expected), got, column=name)],
        )
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(expected)
    is_lost = expected.kind in "iu" and not np.array_equal(converted, array)
    is_beyond = expected.kind in "fc" and np.isinf(converted).any() and not np.isinf(array).any()
    if is_lost or is_beyond:
        raise SignatureMismatch(
            f"The input has numbers that {expected} cannot hold.",
            [Problem("type", str(expected), f"a number beyond {expected}", column=name)],
        )
    return converted


def _leaves(content: Any) -> Iterator[Any]:
    if isinstance(content, list):
        for item in content:
            yield from _leaves(item)
    else:
        yield content


def _value_problems(subject: Any) -> list[Problem]:
    named = subject.items() if isinstance(subject, dict) else [(None, subject)]
    problems = []
    for name, array in named:
        if not isinstance(array, np.ndarray):
            continue
        if array.size == 0:
            problems.append(Problem("empty", "at least one value", "an empty input", column=name))
        elif array.dtype.kind in "fc" and not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array))[0][0]) if array.ndim else None
            problems.append(Problem("finite", "finite numbers", "a number that is not finite", row=row, column=name))
    return problems
