"""Tensor signatures: the arrays that MLflow would enforce, made of JSON's numbers where nothing is lost by it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

# Private, as in decision.py.
from mlflow.models.utils import _enforce_schema
from mlflow.types import Schema

from signet_contract.bulk.chunked_lists import ChunkedList, MustReadWhole
from signet_contract.bulk.numbers import Numbers
from signet_contract.bulk.tables import Table
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.enforcement import (
    column_names,
    column_values,
    columns,
    list_access,
    row_excerpt,
    table_finder,
    tensor_values,
)
from signet_contract.enforcement.list_access import Irregular
from signet_contract.enforcement.tensor_values import ChunkedValues, ColumnValues
from signet_contract.errors import MAX_VIOLATIONS, MalformedPayload, SignatureMismatch, Violation, listed
from signet_contract.model_input import Array
from signet_contract.policy import Policy, rejecting

Input = pd.DataFrame | Array | dict[str, Array]


def enforced(schema: Schema, decoded: DecodedRequest, policy: frozenset[str]) -> Array | dict[str, Array]:
    """What pyfunc would give the model: one array for an unnamed tensor, a dict of them for named ones.

    `policy` has the words that hold. An array of a list in compact form holds zeros: it only tells that the list is
    admitted, and no model gets it (`decision.read_whole`).

    Raises:
        Rejected: the request makes no such arrays, or the schema does not admit them.
        MustReadWhole: a long list cannot be checked in chunks.
    """
    make = _arrays
    if decoded.format in (Format.SPLIT, Format.RECORDS, Format.CSV):
        make = _excerpt if list_access.is_compact(decoded.content) else _frame
    subject, broken = make(schema, decoded, policy)
    broken += _broken_by_values(subject)
    try:
        result: Array | dict[str, Array] = _enforce_schema(subject, schema)
    except MlflowException as error:
        raise _mismatch(error.message, broken or [_generic(schema, error.message)]) from error
    except column_values.CRASHES as error:
        message = f"The input does not fit the signature's tensors: {error}."
        raise _mismatch(message, broken or [_generic(schema, str(error))]) from error
    # MLflow casts a data frame's values even where something is lost, as 1.5 to 1, or to infinity: these are rejected
    # here. `_broken_by_types` has applied the word `mixed_types` to each value. What is left must not be lifted by it.
    words = policy - {Policy.MIXED_TYPES}
    if unlifted := _unlifted(broken, words) or _unlifted(_broken_by_values(result), words):
        first = unlifted[0].first[0]
        where = "The input" if first.column is None else f"Input {first.column}"
        raise _mismatch(f"{where} has {first.got}: expected {first.expected}.", unlifted)
    return result


@dataclass(frozen=True, slots=True)
class _Broken:
    """A rule that an array breaks."""

    first: Sequence[Violation]
    """The violations of the first values that break it."""
    count: int
    """How many values break it."""


def _generic(schema: Schema, got: str) -> _Broken:
    return _Broken([Violation("shape", expected=str(schema), got=got)], 1)


def _unlifted(broken: Sequence[_Broken], policy: frozenset[str]) -> list[_Broken]:
    return [each for each in broken if rejecting(each.first, policy)]


def _mismatch(message: str, broken: Sequence[_Broken]) -> SignatureMismatch:
    first = list(chain.from_iterable(each.first for each in broken))[:MAX_VIOLATIONS]
    return SignatureMismatch(message, first, sum(each.count for each in broken) - len(first))


def _frame(schema: Schema, decoded: DecodedRequest, policy: frozenset[str]) -> tuple[Input, list[_Broken]]:
    """The data frame of a table that is sent for tensors; several columns of one tensor get its dtype here."""
    row_excerpt.require_full(schema, decoded)
    frame = columns.read(schema, decoded, policy).reset_index(drop=True)  # MLflow looks for a row labelled 0
    if frame.columns.has_duplicates:
        twice = list(frame.columns[frame.columns.duplicated()])
        violation = Violation("columns", "each input once", "the same input twice", column=twice[0])
        raise SignatureMismatch(f"The input has columns more than once: {listed(twice)}.", [violation])
    if schema.has_input_names():
        _reject_other_names(schema, list(frame.columns), policy)
        frame = frame[[name for name in schema.input_names() if name in frame.columns]]
    if frame.empty and Policy.EMPTY not in policy:
        raise SignatureMismatch(
            "The input is empty: at least one row is expected.", [Violation("empty", "at least one row", "no rows")]
        )
    specs: dict[Any, Any] = dict(zip(schema.input_names(), schema.inputs, strict=True))
    broken = []
    for name in frame.columns:
        spec = specs.get(name, schema.inputs[0])
        found = _broken_by_types(spec, name, *tensor_values.flattened(list(frame[name])), policy)
        broken += found
        if not found and not schema.has_input_names() and len(frame.columns) > 1:
            try:
                frame[name] = frame[name].astype(spec.type)
            except column_values.CRASHES as error:  # a cell that is a list
                broken.append(_Broken([Violation("shape", str(spec), str(error), column=str(name))], 1))
    return frame, broken


def _excerpt(schema: Schema, decoded: DecodedRequest, policy: frozenset[str]) -> tuple[Input, list[_Broken]]:
    """The data frame of a few rows by which MLflow rejects a long list, and the broken rules; else `MustReadWhole`."""
    content = decoded.content
    rows = content.get("data") if isinstance(content, dict) else None
    if schema.has_input_names() or Policy.MIXED_TYPES in policy or type(rows) is not ChunkedList:
        raise MustReadWhole
    try:
        table = table_finder.table(schema, decoded, {})
        if table is None or len(table.names) == 1 or type(rows.first) is not list:
            raise MustReadWhole
        spec: Any = schema.inputs[0]
        places = range(len(table.names))
        found = [ColumnValues(spec.type) for _ in places]
        for place, start, values in table.columns(places):
            found[place].add(start, values.tolist() if isinstance(values, np.ndarray) else list(values))
    except Irregular as irregular:
        raise MustReadWhole from irregular
    named = zip(table.names, found, strict=True)
    broken = [_unfit(spec, name, each.unfit, each.unfit_count) for name, each in named if each.unfit]
    if not broken or not all(each.are_kept for each in found if each.unfit):
        raise MustReadWhole
    deciding = sorted(set(range(MAX_VIOLATIONS)).union(*(each.deciding for each in found)))
    return _frame(schema, replace(decoded, content=table.cut(deciding, places)), policy)[0], broken


def _arrays(schema: Schema, decoded: DecodedRequest, policy: frozenset[str]) -> tuple[Input, list[_Broken]]:
    content = decoded.content
    if not schema.has_input_names():
        if isinstance(content, Table):
            raise MustReadWhole
        if isinstance(content, dict):
            raise MalformedPayload(
                f"The signature has one unnamed tensor, and the input names {listed(list(content))}: send nested "
                "lists, or log the model with named columns (mlflow.models.set_signature).",
                expected="nested lists of numbers",
                got="a JSON object",
            )
        (unnamed,) = schema.inputs
        return _array(unnamed, None, content, policy)
    names: list[Any] = schema.input_names()
    if isinstance(content, Table) or (isinstance(content, ChunkedList) and isinstance(content.first, dict)):
        _reject_other_names(schema, list_access.names(content, columns.MOST_EXTRA), policy)
        raise MustReadWhole
    if isinstance(content, list) and content and set(map(type, content)) == {dict}:
        _reject_other_names(schema, list(dict.fromkeys(chain.from_iterable(content))), policy)
        by_name = {name: [row[name] for row in content if name in row] for name in names}
        content = {name: values for name, values in by_name.items() if values}
    elif isinstance(content, list | ChunkedList | Numbers) and len(names) == 1:
        content = {names[0]: content}
    if not isinstance(content, dict):
        raise MalformedPayload(
            f"The signature has the named tensors {names}, and the input names none.",
            expected=f"an object with {names}",
            got=list_access.type_name(content),
        )
    _reject_other_names(schema, list(content), policy)
    specs = dict(zip(names, schema.inputs, strict=True))
    arrays: dict[str, Array] = {}
    broken = []
    for name in names:
        if name in content:
            arrays[name], found = _array(specs[name], name, content[name], policy)
            broken += found
    return arrays, broken


def too_wide(schema: Schema, what: str, width: int) -> MalformedPayload:
    """The rejection of a request that names at least `width` inputs."""
    return MalformedPayload(
        f"The {what} names at least {width} inputs, and the signature has {len(schema.inputs)}.",
        expected=f"{len(schema.inputs)} inputs",
        got=f"at least {width} inputs",
    )


def _reject_other_names(schema: Schema, given: list[Any], policy: frozenset[str]) -> None:
    present, expected = set(given), set(schema.input_names())
    missing = [name for name in schema.required_input_names() if name not in present]
    extra = [name for name in given if name not in expected]
    if missing or (extra and Policy.EXTRA_COLUMNS not in policy):
        violations = [
            Violation("columns", "an input of this name", column_names.MISSING, column=name) for name in missing
        ]
        violations += [
            Violation("columns", "no input of this name", column_names.EXTRA, column=name)
            for name in extra[:MAX_VIOLATIONS]
        ]
        message = column_names.missing_message(missing, extra) if missing else column_names.extra_message(extra)
        raise SignatureMismatch(message, violations, len(extra[MAX_VIOLATIONS:]))


def _array(spec: Any, name: str | None, content: Any, policy: frozenset[str]) -> tuple[Array, list[_Broken]]:
    """Nested lists as an array of the spec's dtype; if that loses something, in JSON's type, with the broken rules.

    Raises:
        SignatureMismatch: they are ragged.
    """
    try:
        is_compact = isinstance(content, ChunkedList | Numbers)
        return (_of_compact_list if is_compact else _of_lists)(spec, name, content, policy)
    except tensor_values.Ragged as ragged:
        raise SignatureMismatch(
            f"The input is not a regular array: {ragged}.",
            [Violation("shape", f"shape {spec.shape}", "lists of different lengths", column=name)],
        ) from None


def _of_lists(spec: Any, name: str | None, content: Any, policy: frozenset[str]) -> tuple[Array, list[_Broken]]:
    values, shape = tensor_values.flattened(content)
    tensor_values.require_regular(values, shape)
    if not values:
        return np.empty(shape, spec.type), []
    broken = _broken_by_types(spec, name, values, shape, policy)
    if broken:
        return tensor_values.as_typed(values, shape), broken
    array = np.array(values)
    # Integers are made of the exact values: beside 1.0 numpy makes a double of 2**53 + 1.
    is_exact = array.dtype.kind != "f" or spec.type.kind not in "iu"
    return (array if is_exact else np.array(values, dtype=object)).astype(spec.type).reshape(shape), []


def _of_compact_list(
    spec: Any, name: str | None, content: ChunkedList | Numbers, policy: frozenset[str]
) -> tuple[Array, list[_Broken]]:
    """An array of zeros in the place of a long list, and the rules that the list breaks."""
    if Policy.MIXED_TYPES in policy:  # what one value may be depends on all others
        raise MustReadWhole
    found = ChunkedValues(spec.type, spec.shape[1:], content)
    broken = [_unfit(spec, name, found.unfit, found.unfit_count)] if found.unfit else []
    if found.non_finite and found.dtype.kind == "f":
        first = [
            Violation("finite", "a finite number", str(value), row=row, column=name) for row, value in found.non_finite
        ]
        broken.append(_Broken(first, found.non_finite_count))
    return np.broadcast_to(np.zeros((), found.dtype), found.shape), broken


def _broken_by_types(
    spec: Any, name: Any, values: list[Any], shape: tuple[int, ...], policy: frozenset[str]
) -> list[_Broken]:
    """The rule `type`, if the spec's dtype cannot hold some of an array's values."""
    fitting = tensor_values.unmixed(spec.type, values) if Policy.MIXED_TYPES in policy else values
    places = tensor_values.unfit(spec.type, fitting)
    if not places:
        return []
    row_size = len(values) // shape[0] if shape else 0
    first = [(place // row_size if shape else None, values[place]) for place in places[:MAX_VIOLATIONS]]
    return [_unfit(spec, name, first, len(places))]


def _unfit(spec: Any, name: Any, first: Iterable[tuple[int | None, Any]], count: int) -> _Broken:
    """The rule `type`, broken by `count` values that the spec's dtype cannot hold; the first of them have rows."""
    column = name if isinstance(name, (str, type(None))) else str(name)
    violations = [
        Violation("type", str(spec.type), column_values.kind_name(value), row=row, column=column)
        for row, value in first
    ]
    return _Broken(violations, count)


def _broken_by_values(subject: Any) -> list[_Broken]:
    named: Iterable[tuple[Any, Any]] = subject.items() if isinstance(subject, dict) else [(None, subject)]
    broken = []
    for name, array in named:
        if not isinstance(array, np.ndarray):
            continue
        if array.size == 0:
            broken.append(_Broken([Violation("empty", "at least one value", "an empty input", column=name)], 1))
        elif array.dtype.kind in "fc" and not np.isfinite(array).all():
            places = np.argwhere(~np.isfinite(array))
            first = [
                Violation("finite", "a finite number", str(array[index]), row=index[0] if index else None, column=name)
                for index in map(tuple, places[:MAX_VIOLATIONS].tolist())
            ]
            broken.append(_Broken(first, len(places)))
    return broken
