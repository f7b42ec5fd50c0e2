from __future__ import annotations

import ast
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests_drawn as drawn
from hypothesis import event, given
from hypothesis import strategies as st
from mlflow.models import ModelSignature
from mlflow.types import DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array as SpecArray
from mlflow.types.schema import Object, Property
from signet_contract import json_text, request
from signet_contract.contract import Contract
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.enforcement import decision
from signet_contract.errors import Rejected
from signet_contract.model_input import ModelInput

from testing import oracle


def decided(schema: Schema, body: bytes, allow: frozenset[str] = frozenset()) -> ModelInput | Rejected:
    """Signet's decision on a body, the slow way."""
    document = oracle.signature_document(schema)
    try:
        return Contract(document, allow).enforce_here(request.decode(body), is_unread=False)
    except Rejected as rejection:
        return rejection


def agree(mlflows: oracle.Decision, ours: ModelInput | Rejected, allow: frozenset[str]) -> None:
    """Assert that both decisions are one: the same array, or a rejection with the same message."""
    if isinstance(ours, ModelInput):
        assert mlflows.stricter <= allow
        assert mlflows.message is None
        assert isinstance(ours.inputs, np.ndarray)
        assert ours.inputs.dtype == mlflows.array.dtype
        assert ours.inputs.shape == mlflows.array.shape
        assert ours.inputs.tobytes() == mlflows.array.tobytes()
        return
    assert ours.violations
    json.dumps(ours.document(), allow_nan=False)
    if "unchecked_names" in mlflows.stricter - allow:  # which is looked at first
        assert ours.message.startswith("The input names its columns ")
    elif mlflows.message is None:
        assert mlflows.stricter - allow, ours.message
    elif not mlflows.crashed:
        assert _ordered(ours.message) == _ordered(mlflows.message)


def _ordered(message: str) -> Any:
    """A message with the extra inputs, which MLflow lists in hash order, in one order."""
    start, found, extra = message.partition(" Note that there were extra inputs: ")
    return (start, sorted(map(str, ast.literal_eval(extra.removesuffix("."))))) if found else message


def _note(mlflows: oracle.Decision, allow: frozenset[str]) -> None:
    """What kind of case it is, for hypothesis's statistics."""
    refused = mlflows.stricter - allow
    lifted = f", {sorted(mlflows.stricter)} let through" if mlflows.stricter else ""
    event(f"stricter: {sorted(refused)}" if refused else "refused" if mlflows.message else f"accepted{lifted}")


def test_rows_without_any_column_are_rows() -> None:
    """Where all columns may be left out and others are let through, each row is answered."""
    schema = oracle.columns_schema(("double", "a", False))
    body = b'{"dataframe_split": {"columns": ["b"], "data": [[null], [1.5], [null]]}}'
    ours = decided(schema, body, frozenset({"extra_columns"}))
    assert isinstance(ours, ModelInput)
    assert isinstance(ours.inputs, np.ndarray)
    assert ours.inputs.shape == (3, 1)
    assert np.isnan(ours.inputs).all()


@given(st.data())
def test_columns_are_decided_as_mlflow_decides(data: st.DataObject) -> None:
    """For column signatures, accept or refuse, message and model input are MLflow's, but for the stricter rules."""
    schema = data.draw(drawn.column_schemas(data.draw(st.sampled_from([drawn.NUMBERS, drawn.TYPES, ["double"]]))))
    body, frame = data.draw(drawn.requests(schema))
    allow = data.draw(drawn.allowances)
    mlflows = oracle.decide_table(schema, frame, allow)
    _note(mlflows, allow)
    agree(mlflows, decided(schema, body, allow), allow)


@pytest.mark.parametrize("rows", [[None, "MS41"], ["MS41", None], [None, "aGVsbG8="], ["MS41"], [None]])
def test_base64_beside_a_null_is_decoded(rows: list[str | None]) -> None:
    """A null in an optional binary column leaves the others as they are, like one in a column of dates."""
    schema = oracle.columns_schema(("binary", "a", False))
    body = json.dumps({"dataframe_split": {"columns": ["a"], "data": [[value] for value in rows]}}).encode()
    mlflows = oracle.decide_table(schema, pd.DataFrame({"a": pd.Series(rows, dtype=object)}))
    agree(mlflows, decided(schema, body, frozenset()), frozenset())


@given(st.data())
def test_tensors_are_decided_as_mlflow_decides(data: st.DataObject) -> None:
    """For an unnamed tensor too, where JSON's numbers are read as its dtype if nothing is lost."""
    spec = data.draw(drawn.tensor_specs())
    content = data.draw(drawn.nested_lists(spec))
    key = data.draw(st.sampled_from(["inputs", "instances"]))
    allow = data.draw(drawn.allowances)
    mlflows = oracle.decide_array(spec, content, allow)
    _note(mlflows, allow)
    agree(mlflows, decided(Schema([spec]), json.dumps({key: content}).encode(), allow), allow)


@pytest.mark.parametrize(
    ("start", "leaf", "end"),
    [
        ("[", "1.5", "]"),
        ('{"a":', "1.5", "}"),
        ('[{"a":', "[]", "}]"),
        ('["]",', "1.5", ',"["]'),
        ('["}",', '"]"', ',"{"]'),
        ('["\\"]",', '"]"', ',"["]'),
        ('["","]",', '"["', ',"[",""]'),
    ],
)
def test_depth_is_that_of_the_values(start: str, leaf: str, end: str) -> None:
    """Lists and objects are counted, and no brackets that stand in texts, be the body short or long."""
    schema = oracle.columns_schema(("double", "a"))
    for depth in range(1, 40):
        nested = start * depth + leaf + end * depth
        is_deep = 1 + _depth(json.loads(nested)) >= json_text.MAX_DEPTH
        for beside in ("", f', "params": {{"p": {[1.5] * 20_000}}}'):
            rejection = decided(schema, f'{{"inputs": {{"b": {nested}}}{beside}}}'.encode())
            assert isinstance(rejection, Rejected)
            assert rejection.message.startswith("The body is nested too deeply") is is_deep


def _depth(value: Any) -> int:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if items is None else 1 + max(map(_depth, items), default=0)


DEFAULTS: dict[str, Any] = {
    "double": 1.5,
    "float": 1.5,
    "long": 1,
    "integer": 1,
    "string": "a",
    "boolean": True,
    "datetime": "2020-01-02",
}
NEAR_INFINITY = 2**1024 - 1


@given(st.data())
def test_a_long_param_is_decided_as_mlflow_decides(data: st.DataObject) -> None:
    """MLflow is asked about one value of each kind, and says the same of all."""
    type_ = data.draw(st.sampled_from(sorted(DEFAULTS)))
    spec = ParamSpec("p", type_, [DEFAULTS[type_]], (-1,))
    values = st.one_of(drawn.anything, st.sampled_from([DEFAULTS[type_], None, 10**30, NEAR_INFINITY]))
    sent = data.draw(st.lists(values, max_size=3)) * 30
    signature = ModelSignature(oracle.columns_schema(("double", "a")), params=ParamSchema([spec]))
    try:
        mlflows = ParamSpec.validate_param_spec(sent, spec)
    except Exception:  # noqa: BLE001 -- it crashes on some
        mlflows = None
    decoded = DecodedRequest(Format.INPUTS, {"a": [1.5]}, params={"p": sent})
    try:
        ours = decision.decide(signature.to_dict(), decoded, frozenset({"non_finite"})).params["p"]
    except Rejected:
        ours = None
    event("refused" if ours is None else "accepted")
    assert repr(ours) == repr(mlflows)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("x", "Can not safely convert `<class 'str'>` to `DataType.double` for value `x`"),
        ({}, "Value must be a scalar for type `DataType.double`, got `{}`"),
        ([1.5], "setting an array element with a sequence. The requested array has an inhomogeneous shape"),
        (math.nan, "Param p has nan: expected a finite number."),
    ],
)
def test_what_is_wrong_with_a_long_param_is_said_in_few_words(value: Any, message: str) -> None:
    """However many values it has; the params that the signature lacks are not told, as they are not looked at."""
    spec = ParamSpec("p", "double", [1.5], (-1,))
    signature = ModelSignature(oracle.columns_schema(("double", "a")), params=ParamSchema([spec]))
    params = {"p": [1.5] * 9999 + [value], "q": ["y"] * 9999}
    with pytest.raises(Rejected) as caught:
        decision.decide(signature.to_dict(), DecodedRequest(Format.INPUTS, {"a": [1.5]}, params=params))
    assert message in caught.value.message
    (violation,) = caught.value.violations
    assert len(violation.got) < 50


@pytest.mark.parametrize(
    ("body", "least"),
    [
        (b'{"inputs": {"a": [18446744073709551616]}}', 1 << 16),
        (b'{"inputs": {"a": [18446744073709551616]}}', 8),
        (b'{"inputs": {"a": [1.5]}, "params": {"p": 1}}', 8),
        (b'{"inputs": {"a": [%s]}}' % b",".join([b"0.5"] * 999), 64),
        (b"[%s]" % b",".join([b'{"a": 1.5}'] * 999), 64),
    ],
)
@pytest.mark.parametrize("is_read", [True, False])
def test_a_request_that_is_not_refused_is_read_exactly(body: bytes, least: int, *, is_read: bool) -> None:
    """Whether it was looked through before or not, and what is exact already is not read again."""
    inputs = oracle.signature_document(oracle.columns_schema(("double", "a")))["inputs"]
    source = request.RawBody(body)
    exact = decision.read_whole({"inputs": inputs}, source.decode() if is_read else source.unread(), least=least)
    assert exact == source.exact()
    assert exact.is_exact
    assert decision.read_whole({"inputs": inputs}, exact) is exact


def test_arrays_with_nothing_wrong_are_not_decided_on_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is then read as a whole, and not in chunks before."""
    inputs = oracle.signature_document(oracle.columns_schema(("double", "a")))["inputs"]
    source = request.RawBody(b'{"inputs": {"a": [%s]}}' % b",".join([b"0.5"] * 2999))
    decoded = source.decode()
    monkeypatch.delattr(request.RawBody, "chunked")
    assert decision.read_whole({"inputs": inputs}, decoded, least=64) == source.exact()


NUMBERS = [1.5] * 30_000
COUNTED = {str(row): 1.5 for row in range(30_000)}


@pytest.mark.parametrize(
    "params",
    [
        *(NUMBERS, ["x"] * 30_000, [{"a": 1.5}] * 9_000, COUNTED, {"p": COUNTED}, {"p": [[1.5]] * 30_000}),
        *({"p": [*NUMBERS, other]} for other in (2, "x", None, True, math.nan, math.inf, [], {"a": NUMBERS}, 2**70)),
        *({"q": NUMBERS}, {"o": {"x": {"y": NUMBERS}}}, {"o": {"x": {"y": [*NUMBERS, "x"]}}}),
    ],
    ids=lambda params: str(params)[:30] + str(params)[-20:],
)
@pytest.mark.parametrize("column", [NUMBERS, ["x"] * 30_000, [1.5]], ids=["numbers", "texts", "short"])
def test_what_is_said_of_long_params_does_not_tell_how_they_were_read(params: Any, column: list[Any]) -> None:
    """Nor does it depend on that."""
    nested = Object([Property("x", Object([Property("y", SpecArray(DataType.double))]))])
    specs = [ParamSpec("p", "double", [1.0], (-1,)), ParamSpec("o", nested, {"x": {"y": [1.0]}})]
    signature = ModelSignature(oracle.columns_schema(("double", "a")), params=ParamSchema(specs)).to_dict()
    source = request.RawBody(json.dumps({"inputs": {"a": column}, "params": params}).encode())
    said: list[Any] = []
    for decoded in (source.unread(), source.exact()):
        try:
            Contract(signature).enforce_here(decoded, is_unread=False)
            said.append(None)
        except Rejected as rejection:
            said.append(rejection.document())
    assert said[0] == said[1]
