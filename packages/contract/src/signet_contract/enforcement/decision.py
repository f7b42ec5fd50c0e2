"""MLflow's own decision on a request, and the name of everything that is wrong with it.

Slow (pandas) and exact: `columns` and `tensors` build what MLflow's scoring server would build from the request, with
the values as JSON typed them, and give it to `mlflow.models.utils._enforce_schema`. Six rules are stricter than
MLflow's, and can be lifted (see `policy`). They reject what MLflow would let through silently:

1. extra columns;
2. null (or NaN) in a required column;
3. a number that is not finite;
4. an empty input;
5. a value of the wrong JSON kind in a column that pandas coerces (`[1.5, "3.5"]`, `[1.5, true]`);
6. names of columns where the signature has no names to check them by.

`column_names`, `columns`, `column_values`, `tensors` and `unchecked_names` apply these rules. `float32` applies the
third once more, to what the model gets.

A request is malformed, and nothing lifts that, if pandas would mend or drop something without a word: rows of several
lengths, a CSV row that is longer than the header, keys of `data` that `columns` lacks, an `index` of more or fewer
rows. So is a request that would cost too much: its body is nested too deeply, or becomes too wide or too large a table
(`columns`, `row_excerpt`). All else is MLflow's decision.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from itertools import chain
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature

# Private, and the only way to MLflow's decision without a loaded pyfunc model; test_decision.py pins it.
from mlflow.models.utils import _enforce_params_schema
from mlflow.types import DataType, Schema

from signet_contract.bulk.chunked_json import TooWide
from signet_contract.bulk.chunked_lists import MIN_BYTES, MustReadWhole, NothingWrong
from signet_contract.decoded_request import UNREAD, DecodedRequest, Format
from signet_contract.enforcement import column_values, columns, float32, likely_mistakes, list_access, tensors
from signet_contract.enforcement.row_excerpt import Excerpt
from signet_contract.enforcement.value_kinds import Kinds, types_of
from signet_contract.errors import Rejected, SignatureMismatch, Violation
from signet_contract.json_text import has_many_digits, of_utf8, require_shallow, without_collector
from signet_contract.model_input import Array, ModelInput
from signet_contract.policy import Policy
from signet_contract.request import RawBody


def decide(signature: Mapping[str, Any], decoded: DecodedRequest, policy: frozenset[str] = frozenset()) -> ModelInput:
    """What pyfunc would give a model with this signature for a request.

    Args:
        signature: the `signature` entry of an MLmodel file.
        decoded: the request, as `read_whole` returns it.
        policy: what is let through after all, words of `policy`.

    Raises:
        Rejected: with MLflow's message where MLflow rejects.
    """
    with without_collector():
        return _decide_and_explain(_signature(signature), decoded, policy)


def read_whole(
    signature: Mapping[str, Any],
    decoded: DecodedRequest,
    policy: frozenset[str] = frozenset(),
    *,
    arrays_were_tried: bool = False,
    least: int = MIN_BYTES,
) -> DecodedRequest:
    """The request with every value as a Python object.

    The objects of a long body of JSON cost much. So the body is first decided on in compact form: as arrays or else,
    more slowly, in chunks. If it is rejected so, no objects are made of it.

    Args:
        signature: as of `decide`.
        decoded: the request, read or not.
        policy: as of `decide`.
        arrays_were_tried: whether the body could not be read into arrays before, so that it is not tried again.
        least: the bytes from which on a body is long.

    Raises:
        Rejected: it cannot be read, or it is long and rejected, as `decide` would reject it.
    """
    mlflow_signature, source = _signature(signature), decoded.source
    if source is None or decoded.is_exact:
        return decoded
    with without_collector():
        if source.is_csv or len(source.text) <= least:
            return source.exact()
        of_utf8(source.text)  # else all that stands before a wrong byte would be read first
        for read in (
            partial(_in_arrays, decoded, source, were_tried=arrays_were_tried),
            partial(_in_chunks, mlflow_signature.inputs, source, least),
        ):
            with suppress(MustReadWhole):  # it cannot be read or decided on in this form: the next may do
                compact = read()
                if compact.is_exact:  # it has no long list, so that it was read whole
                    return compact
                _raise_what_is_wrong(mlflow_signature, compact, policy)
                break
        return source.exact()  # it may be right, and only a whole body is admitted


def _raise_what_is_wrong(signature: ModelSignature, compact: DecodedRequest, policy: frozenset[str]) -> None:
    """Raise the rejection of a request in compact form, if it has one, or `MustReadWhole` if that is not certain."""
    with suppress(NothingWrong):
        _decide_and_explain(signature, compact, policy)


def _in_arrays(decoded: DecodedRequest, source: RawBody, *, were_tried: bool) -> DecodedRequest:
    """The request with arrays for its long lists; raises `MustReadWhole` if it cannot be read so."""
    if decoded.content is UNREAD and not were_tried:
        decoded = source.decode()  # into arrays, where it can
    if not _is_compact(decoded) or has_many_digits(source.text):  # float64 does not hold such an integer
        raise MustReadWhole
    require_shallow(source.text)
    return decoded


def _in_chunks(schema: Schema, source: RawBody, least: int) -> DecodedRequest:
    """The request with `ChunkedList`s for its long lists, exact if it has none; raises `MustReadWhole` likewise."""
    most_names = len(schema.inputs) + columns.MOST_EXTRA
    try:
        chunked = source.chunked(least, most_names, math.inf if schema.is_tensor_spec() else columns.max_width(schema))
    except TooWide as too_wide:
        raise (tensors if schema.is_tensor_spec() else columns).too_wide(schema, "body", too_wide.width) from None
    chunked.is_exact = not _is_compact(chunked)
    return chunked


def _is_compact(decoded: DecodedRequest) -> bool:
    return any(map(list_access.is_compact, (decoded.content, decoded.params)))


def _decide_and_explain(signature: ModelSignature, decoded: DecodedRequest, policy: frozenset[str]) -> ModelInput:
    try:
        return _decide(signature, decoded, policy)
    except Rejected as rejection:
        schema = signature.inputs
        names = schema.input_names() if schema.has_input_names() else []
        raise likely_mistakes.explained(rejection, decoded, names) from rejection.__cause__


def _decide(signature: ModelSignature, decoded: DecodedRequest, policy: frozenset[str]) -> ModelInput:
    excerpted, sent = _declared_params(signature, decoded.params)
    params = _params(signature, excerpted, policy)
    schema = signature.inputs
    is_tensor = schema.is_tensor_spec()
    inputs = tensors.enforced(schema, decoded, policy) if is_tensor else _columns(schema, decoded, policy)
    if list_access.is_compact(sent):
        raise NothingWrong
    if excerpted != sent:
        params = _with_all_values(signature, params, sent, policy)
    return ModelInput(inputs, params, framed=not is_tensor)


def _columns(schema: Schema, decoded: DecodedRequest, policy: frozenset[str]) -> Array:
    if decoded.format is Format.CSV:
        decoded = replace(decoded, content=columns.read(schema, decoded, policy))
    excerpt = Excerpt(schema, decoded, policy)
    try:
        array = _array(schema, excerpt.decoded, policy)
    except SignatureMismatch as rejection:
        raise excerpt.of_the_whole(rejection) from rejection
    if not excerpt.is_shorter:
        return array
    if list_access.is_compact(decoded.content):
        raise NothingWrong
    return _array(schema, excerpt.whole(), policy, is_right=True)


def _array(schema: Schema, decoded: DecodedRequest, policy: frozenset[str], *, is_right: bool = False) -> Array:
    enforced, sent = columns.enforced(schema, decoded, policy, is_right=is_right)
    return float32.model_input_of(schema, enforced, sent, policy)


def _signature(signature: Mapping[str, Any]) -> ModelSignature:
    return _parsed(*map(signature.get, ("inputs", "outputs", "params")))


@lru_cache(maxsize=8)
def _parsed(inputs: str, outputs: str | None, params: str | None) -> ModelSignature:
    signature: ModelSignature = ModelSignature.from_dict({"inputs": inputs, "outputs": outputs, "params": params})
    return signature


def _declared_params(signature: ModelSignature, sent: Any) -> tuple[Any, Any]:
    """The params that the signature declares, with one value of each kind in the place of each list, and as they came.

    MLflow would write the others to the log.
    """
    if signature.params is None:
        return None, None
    if not isinstance(sent, dict):
        if list_access.is_compact(sent):
            raise MustReadWhole
        return sent, sent
    types = _param_types(signature)
    declared = {name: value for name, value in sent.items() if name in types}
    return {name: _one_of_each_kind(value, types[name]) for name, value in declared.items()}, declared


def _param_types(signature: ModelSignature) -> dict[str, Any]:
    return {spec.name: spec.dtype for spec in signature.params.params}


def _params(signature: ModelSignature, sent: Any, policy: frozenset[str]) -> dict[str, Any]:
    if signature.params is None:
        return {}  # as MLflow, which ignores params that the signature does not declare
    try:
        params = _enforce_params_schema(sent, signature.params) or {}
    except (MlflowException, *column_values.CRASHES) as error:
        what = f"The params do not fit the signature's: {column_values.without_place(error)}."
        message = error.message if isinstance(error, MlflowException) else what
        violation = Violation(rule="params", expected=str(signature.params), got=reprlib.repr(sent))
        raise SignatureMismatch(message, [violation]) from error
    if Policy.NON_FINITE not in policy:
        _reject_infinite({name: params[name] for name in params if name in (sent or {})})
    return dict(params)


def _with_all_values(
    signature: ModelSignature, params: dict[str, Any], sent: dict[str, Any], policy: frozenset[str]
) -> dict[str, Any]:
    """Params of which MLflow has admitted and converted one value of each kind, with all values.

    MLflow converts each value by itself, and takes a microsecond for it. So the same is done here.
    """
    types = _param_types(signature)
    lists = {name: values for name, values in sent.items() if type(values) is list}
    if DataType.datetime not in map(types.get, lists):  # MLflow reads texts as times, too
        with suppress(OverflowError):  # of an integer that rounds to 2.0**1024
            return params | {name: _converted(values, types[name]) for name, values in lists.items()}
    return _params(signature, sent, policy)


def _converted(values: list[Any], type_: Any) -> list[Any]:
    if not isinstance(type_, DataType):
        return values
    python_type = type_.to_python()  # type: ignore[no-untyped-call]  # MLflow types it in part
    if {python_type, type(None)}.issuperset(types_of(values)):
        return values
    return [value if value is None else python_type(value) for value in values]


def _one_of_each_kind(value: Any, type_: Any) -> Any:
    """A param as it came, or of a list the first value of each kind: if one is wrong, so is the list."""
    if not list_access.is_list(value) or list_access.is_labelled(value) or not isinstance(type_, DataType):
        if list_access.is_compact(value):
            raise MustReadWhole
        return value
    kinds = Kinds(type_, 1)
    for start, values in list_access.chunks(value):
        kinds.add(start, values)
    return list_access.taken(value, sorted(chain.from_iterable(kinds.first.values())))


def _reject_infinite(params: dict[str, Any]) -> None:
    for name, value in params.items():
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                raise SignatureMismatch(
                    f"Param {name} has {number}: expected a finite number.",
                    [Violation("finite", f"a finite number for the param {name}", str(number))],
                )
