"""MLflow's own verdict on a request, and the name of everything that is wrong with it.

Slow (pandas, some hundred microseconds) and exact: what MLflow's scoring server would build from the request, with the
values as JSON typed them, goes through `mlflow.models.utils._enforce_schema`. Six rules are stricter than MLflow's,
each for what it would let through silently, and are applied to what the model gets (see `floats`):

1. extra columns are refused;
2. so is null (or NaN) in a required column,
3. a number that is not finite,
4. an empty input,
5. a value of the wrong JSON kind in a column that pandas coerces (`[1.5, "3.5"]`, `[1.5, true]`),
6. and names of columns where the signature has none to check them by.

Each can be lifted (see `relaxations`), and the rest is then MLflow's.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from itertools import chain
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature

# Private, and the only way to MLflow's verdict without a loaded pyfunc model; tests/test_verdict.py pins it.
from mlflow.models.utils import _enforce_params_schema
from mlflow.types import Schema

from signet_torchserve import column_values, floats, frames, mistakes, tensors
from signet_torchserve.errors import MalformedPayload, Problem, Refusal, SignatureMismatch
from signet_torchserve.excerpt import Excerpt
from signet_torchserve.feed import Array, Feed
from signet_torchserve.json_text import MAX_DEPTH, is_shallow, without_collector
from signet_torchserve.long_lists import MIN_BYTES, Unsliced
from signet_torchserve.payload import Format, Payload, Source
from signet_torchserve.relaxations import Relaxation


def decide(
    inputs: str, outputs: str | None, params: str | None, payload: Payload, allow: frozenset[str] = frozenset()
) -> Feed:
    """What pyfunc would feed a model with this signature for `payload`.

    Args:
        inputs: the signature's inputs, as the JSON text that an MLmodel file holds.
        outputs: likewise its outputs.
        params: likewise its params.
        payload: the request.
        allow: what is let through after all, words of `relaxations`.

    Raises:
        Refusal: with MLflow's message where MLflow refuses.
    """
    if payload.source is not None and not payload.is_exact:
        refuse_long(inputs, outputs, params, payload.source, allow)
    with without_collector():
        payload = payload.exact()
        _require_shallow(payload)
        return _explained(_signature(inputs, outputs, params), payload, allow)


def refuse_long(  # noqa: PLR0913 -- those of `decide`
    inputs: str,
    outputs: str | None,
    params: str | None,
    source: Source,
    allow: frozenset[str] = frozenset(),
    *,
    least: int = MIN_BYTES,
) -> None:
    """Refuse a long body as `decide` would, where that can be told without having all of its values at once.

    Args:
        inputs: as of `decide`; so are the others.
        outputs: likewise.
        params: likewise.
        source: the body.
        allow: likewise.
        least: bytes from which on it is a long one.

    Raises:
        Refusal: it is refused.
    """
    signature = _signature(inputs, outputs, params)
    if source.is_csv or len(source.text) <= least or signature.inputs.is_tensor_spec():
        return
    with without_collector(), suppress(Unsliced):
        _explained(signature, source.sliced(least), allow)


def _explained(signature: ModelSignature, payload: Payload, allow: frozenset[str]) -> Feed:
    try:
        return _decide(signature, payload, allow)
    except Refusal as refusal:
        schema = signature.inputs
        names = schema.input_names() if schema.has_input_names() else []
        raise mistakes.explained(refusal, payload, names) from refusal.__cause__


def _require_shallow(payload: Payload) -> None:
    if payload.source and not payload.source.is_csv and is_shallow(payload.source.text):
        return
    lists: list[Any] = [[payload.content, payload.params]]
    dicts: list[Any] = []
    for _ in range(MAX_DEPTH):
        level = partial(chain.from_iterable, [*lists, *map(dict.values, dicts)])  # not a list: a level may be millions
        types = set(map(type, level()))
        if not types & {list, dict}:
            return
        nodes = list(filter(None, level())) if types <= {list, dict} else [node for node in level() if node]
        lists = nodes if types == {list} else [node for node in nodes if type(node) is list]
        dicts = nodes if types == {dict} else [node for node in nodes if type(node) is dict]
    raise MalformedPayload(
        f"The body is nested too deeply: at most {MAX_DEPTH} lists and objects may stand in one another.",
        expected=f"at most {MAX_DEPTH} levels",
        got="JSON nested too deeply",
    )


def _decide(signature: ModelSignature, payload: Payload, allow: frozenset[str]) -> Feed:
    values = _params(signature, payload)
    if Relaxation.NON_FINITE not in allow:
        _refuse_infinite({name: values[name] for name in values if name in (payload.params or {})})
    schema = signature.inputs
    if schema.is_tensor_spec():
        return Feed(tensors.enforced(schema, payload, allow), values, framed=False)
    if payload.format is Format.CSV:
        payload = replace(payload, content=frames.read(schema, payload, allow))
    excerpt = Excerpt(schema, payload, allow)
    try:
        array = _array(schema, excerpt.payload, allow)
    except SignatureMismatch as refusal:
        raise excerpt.of_the_whole(refusal) from refusal
    if excerpt.is_shorter:
        array = _array(schema, excerpt.whole(), allow)
    return Feed(array, values, framed=True)


def _array(schema: Schema, payload: Payload, allow: frozenset[str]) -> Array:
    enforced, sent = frames.enforced(schema, payload, allow)
    return floats.fed(schema, enforced, sent, allow)


@lru_cache(maxsize=8)
def _signature(inputs: str, outputs: str | None, params: str | None) -> ModelSignature:
    signature: ModelSignature = ModelSignature.from_dict({"inputs": inputs, "outputs": outputs, "params": params})
    return signature


def _params(signature: ModelSignature, payload: Payload) -> dict[str, Any]:
    if signature.params is None:
        return {}  # as MLflow, which ignores params that the signature does not declare
    try:
        return dict(_enforce_params_schema(payload.params, signature.params) or {})
    except MlflowException as error:
        problem = Problem(rule="params", expected=str(signature.params), got=repr(payload.params))
        raise SignatureMismatch(error.message, [problem]) from error
    except column_values.CRASHES as error:
        problem = Problem(rule="params", expected=str(signature.params), got=repr(payload.params))
        raise SignatureMismatch(f"The params do not fit the signature's: {error}.", [problem]) from error


def _refuse_infinite(params: dict[str, Any]) -> None:
    for name, value in params.items():
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                raise SignatureMismatch(
                    f"Param {name} has {number}: expected a finite number.",
                    [Problem("finite", f"a finite number for the param {name}", str(number))],
                )
