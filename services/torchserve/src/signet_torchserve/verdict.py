"""MLflow's own verdict on a request, and the name of everything that is wrong with it.

Slow (pandas, some hundred microseconds) and exact: what MLflow's scoring server would build from the request, with the
values as JSON typed them, goes through `mlflow.models.utils._enforce_schema`. Five rules are stricter than MLflow's,
each for what it would let through silently:

1. extra columns are refused;
2. so is null (or NaN) in a required column,
3. a number that is not finite,
4. an empty input,
5. and a value of the wrong JSON kind in a column that pandas coerces (`[1.5, "3.5"]`, `[1.5, true]`).

Each can be lifted (see `relaxations`), and the rest is then MLflow's.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature

# Private, and the only way to MLflow's verdict without a loaded pyfunc model; tests/test_verdict.py pins it.
from mlflow.models.utils import _enforce_params_schema
from mlflow.types import Schema

from signet_torchserve import frames, tensors
from signet_torchserve.errors import MalformedPayload, Problem, SignatureMismatch
from signet_torchserve.excerpt import Excerpt
from signet_torchserve.feed import Array, Feed
from signet_torchserve.payload import Format, Payload, without_collector

MAX_DEPTH = 32
"""Most lists and objects in one another: numpy can go through no more."""


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
    with without_collector():
        payload = payload.exact()
        _require_shallow(payload)
        return _decide(_signature(inputs, outputs, params), payload, allow)


def _require_shallow(payload: Payload) -> None:
    level = [payload.content, payload.params]
    for _ in range(MAX_DEPTH):
        types = set(map(type, level))
        if not types & {list, dict}:
            return
        lists = level if types == {list} else [node for node in level if type(node) is list]
        dicts = [] if types == {list} else [node.values() for node in level if type(node) is dict]
        level = list(chain.from_iterable(chain(lists, dicts)))
    raise MalformedPayload(
        f"The body is nested too deeply: at most {MAX_DEPTH} lists and objects may stand in one another.",
        expected=f"at most {MAX_DEPTH} levels",
        got="JSON nested too deeply",
    )


def _decide(signature: ModelSignature, payload: Payload, allow: frozenset[str]) -> Feed:
    values = _params(signature, payload)
    schema = signature.inputs
    if schema.is_tensor_spec():
        return Feed(tensors.enforced(schema, payload, allow), values, framed=False)
    if payload.format is Format.CSV:
        payload = replace(payload, content=frames.read(schema, payload))
    excerpt = Excerpt(schema, payload)
    try:
        array = _array(schema, excerpt.payload, allow)
    except SignatureMismatch as refusal:
        raise excerpt.of_the_whole(refusal) from refusal
    if excerpt.is_shorter:
        array = _array(schema, excerpt.whole(), allow)
    return Feed(array, values, framed=True)


def _array(schema: Schema, payload: Payload, allow: frozenset[str]) -> Array:
    frame = frames.enforced(schema, payload, allow)
    try:
        with np.errstate(over="ignore"):
            array: Array = frame.to_numpy(dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise SignatureMismatch(
            f"The signature admits this input, but the model takes numbers only: {error}.",
            [Problem(rule="model", expected="values that convert to float32", got=str(error))],
        ) from error
    return array


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
    except frames.CRASHES as error:
        problem = Problem(rule="params", expected=str(signature.params), got=repr(payload.params))
        raise SignatureMismatch(f"The params do not fit the signature's: {error}.", [problem]) from error
