from __future__ import annotations

import ast
import json
from typing import Any

import numpy as np
import oracle
import requests_drawn as drawn
from hypothesis import event, given
from hypothesis import strategies as st
from mlflow.types import ParamSchema, Schema
from signet_torchserve import payload as payloads
from signet_torchserve import verdict
from signet_torchserve.errors import Refusal
from signet_torchserve.feed import Feed


def decided(schema: Schema, body: bytes, params: ParamSchema | None = None) -> Feed | Refusal:
    """Signet's verdict on a body, the slow way."""
    document = oracle.signature_document(schema, params)
    try:
        return verdict.decide(document["inputs"], None, document["params"], payloads.decode(body))
    except Refusal as refusal:
        return refusal


def agree(judged: oracle.Verdict, ours: Feed | Refusal) -> None:
    """Assert that both verdicts are one: the same array, or a refusal with the same message."""
    if isinstance(ours, Feed):
        assert judged.stricter is None
        assert judged.message is None
        assert isinstance(ours.inputs, np.ndarray)
        assert ours.inputs.dtype == judged.array.dtype
        assert ours.inputs.shape == judged.array.shape
        assert ours.inputs.tobytes() == judged.array.tobytes()
        return
    assert ours.problems
    json.dumps(ours.body("m", "1"), allow_nan=False)
    if judged.message is None:
        assert judged.stricter is not None, ours.message
    elif not judged.crashed:
        assert _ordered(ours.message) == _ordered(judged.message)


def _ordered(message: str) -> Any:
    """A message with the extra inputs, which MLflow lists in hash order, in one order."""
    start, found, extra = message.partition(" Note that there were extra inputs: ")
    return (start, sorted(map(str, ast.literal_eval(extra.removesuffix("."))))) if found else message


@given(st.data())
def test_columns_are_decided_as_mlflow_decides(data: st.DataObject) -> None:
    """For column signatures, accept or refuse, message and fed array are MLflow's, but for the five stricter rules."""
    schema = data.draw(drawn.column_schemas(data.draw(st.sampled_from([drawn.NUMBERS, drawn.TYPES]))))
    body, frame = data.draw(drawn.requests(schema))
    judged = oracle.judge_table(schema, frame)
    event(f"stricter: {judged.stricter}" if judged.stricter else "refused" if judged.message else "accepted")
    agree(judged, decided(schema, body))


@given(st.data())
def test_tensors_are_decided_as_mlflow_decides(data: st.DataObject) -> None:
    """For an unnamed tensor too, where JSON's numbers are read as its dtype if nothing is lost."""
    spec = data.draw(drawn.tensor_specs())
    content = data.draw(drawn.nested_lists(spec))
    key = data.draw(st.sampled_from(["inputs", "instances"]))
    judged = oracle.judge_array(spec, content)
    event(f"stricter: {judged.stricter}" if judged.stricter else "refused" if judged.message else "accepted")
    agree(judged, decided(Schema([spec]), json.dumps({key: content}).encode()))
