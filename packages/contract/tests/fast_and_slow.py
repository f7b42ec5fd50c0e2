"""The fast path held to enforcement: what the tests of both share."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import requests_drawn as drawn
from hypothesis import currently_in_test_context, event
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec
from signet_contract import request
from signet_contract.contract import Contract
from signet_contract.decoded_request import DecodedRequest
from signet_contract.errors import Rejected
from signet_contract.model_input import ModelInput

from testing.oracle import columns_schema, signature_document

LARGE_BYTES = 1 << 11  # from there on lists are read into arrays


IRIS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]


def signature(*specs: tuple[Any, ...]) -> Contract:
    return Contract(signature_document(columns_schema(*specs)))


def outcome(contract: Contract, body: bytes, content_type: str = "") -> ModelInput | Rejected:
    try:
        return contract.admit(request.decode(body, content_type))
    except Rejected as rejection:
        return rejection


def slowly(
    document: dict[str, Any], decoded: DecodedRequest, allow: frozenset[str] = frozenset()
) -> ModelInput | Rejected:
    try:
        return Contract(document, allow).enforce_here(decoded, is_unread=False)
    except Rejected as rejection:
        return rejection


def hold_to_the_slow_way(
    schema: Schema,
    body: bytes,
    content_type: str = "",
    *,
    params: ParamSchema | None = None,
    allow: frozenset[str] = frozenset(),
) -> None:
    document = signature_document(schema, params)
    contract = Contract(document, allow)
    decoded = request.decode(body, content_type)
    fast = contract.fast_path(decoded)
    if currently_in_test_context():
        event(f"{'fast' if fast is not None else 'abstains'}{', of a large body' if len(body) > LARGE_BYTES else ''}")
    slow = slowly(document, decoded, allow)
    if isinstance(slow, Rejected):
        assert fast is None, slow.message
        with pytest.raises(Rejected) as caught:
            contract.admit(decoded)
        assert caught.value.message == slow.message
        return
    for model_input in [contract.admit(decoded), *([] if fast is None else [fast])]:
        assert model_input.framed == slow.framed
        assert typed(model_input.params) == typed(slow.params)
        assert list(by_name(model_input.inputs)) == list(by_name(slow.inputs))
        for name, array in by_name(model_input.inputs).items():
            expected = by_name(slow.inputs)[name]
            assert array.dtype == expected.dtype
            assert array.shape == expected.shape
            assert array.tobytes() == expected.tobytes()


def typed(params: dict[str, Any]) -> str:
    """Text in which order counts, and 1 and 1.0 differ."""
    return repr(params)


def by_name(inputs: Any) -> dict[str | None, Any]:
    return inputs if isinstance(inputs, dict) else {None: inputs}


def repeated(node: Any, times: int) -> Any:
    """The document with each of its lists of rows that often; params stay as they are."""
    if isinstance(node, dict):
        return {name: value if name == "params" else repeated(value, times) for name, value in node.items()}
    return node * times if isinstance(node, list) else node


def columns(**values: Any) -> bytes:
    return json.dumps({"inputs": values}).encode()


MISSING = "Model is missing inputs ['a', 'b']."


TWO = (("double", "a"), ("double", "b"))


UNSAFE = "Incompatible input types for column a. Can not safely convert"


NAMED = Schema([TensorSpec(np.dtype("float32"), (-1,), "a")])


SIGNATURES = {
    "doubles": columns_schema(("double", "a"), ("double", "b")),
    "mixed": columns_schema(*((kind, kind, index % 2 == 0) for index, kind in enumerate(drawn.TYPES))),
    "unnamed": columns_schema(("double", None), ("long", None)),
    "tensor": Schema([TensorSpec(np.dtype("float32"), (-1, 2))]),
    "named tensors": Schema([TensorSpec(np.dtype("int64"), (-1,), "a"), TensorSpec(np.dtype("bool"), (-1, 1), "b")]),
    "one named tensor": Schema([TensorSpec(np.dtype("float64"), (-1, 2), "a")]),
}


PARAMS = ParamSchema(
    [
        ParamSpec("t", "double", 1.0),
        ParamSpec("when", "datetime", np.datetime64("2020-01-01")),
        ParamSpec("l", "long", [1], (-1,)),
    ]
)
