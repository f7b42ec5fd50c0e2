from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import requests_drawn as drawn
from hypothesis import event, given
from hypothesis import strategies as st
from mlflow.types import Schema, TensorSpec
from signet_contract.contract import Contract
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.enforcement import decision, tensors
from signet_contract.errors import MAX_VIOLATIONS, Rejected
from signet_contract.request import RawBody

from testing.oracle import signature_document

FORMATS = st.sampled_from([Format.INPUTS, Format.INSTANCES])


def enforced(schema: Schema, format_: Format, content: Any, policy: frozenset[str] = frozenset()) -> Any:
    try:
        return tensors.enforced(schema, DecodedRequest(format_, content), policy)
    except Rejected as rejection:
        return rejection


def fits(leaf: Any, dtype: np.dtype[Any]) -> bool:
    """Whether a JSON value is one of a dtype's, but for what a float rounds away."""
    if type(leaf) is bool or dtype.kind == "b":
        return type(leaf) is bool and dtype.kind == "b"
    if type(leaf) not in (int, float) or not math.isfinite(leaf):
        return False
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return bool(np.isfinite(np.float64(leaf).astype(dtype)))
    return leaf == int(leaf) and np.iinfo(dtype).min <= leaf <= np.iinfo(dtype).max


@given(data=st.data(), spec=drawn.tensor_specs(), format_=FORMATS)
def test_lists_are_accepted_if_nothing_is_lost(data: st.DataObject, spec: TensorSpec, format_: Format) -> None:
    """As exactly the numbers that JSON has, in the signature's dtype and shape; every other list is refused."""
    content = data.draw(drawn.nested_lists(spec))
    found = enforced(Schema([spec]), format_, content)
    array = np.array(content, object)
    is_of_shape = array.ndim == len(spec.shape) and all(
        size in (-1, length) for size, length in zip(spec.shape, array.shape, strict=True)
    )
    right = is_of_shape and array.size > 0 and all(fits(leaf, spec.type) for leaf in array.ravel().tolist())
    event("accepted" if right else "refused")
    if not right:
        assert isinstance(found, Rejected)
        assert found.violations
        return
    assert not isinstance(found, Rejected), found.message
    assert (found.dtype, found.shape) == (spec.type, array.shape)
    assert found.tobytes() == array.astype(spec.type).tobytes()
    if spec.type.kind in "iub":
        assert found.tolist() == content


@given(
    dtype=st.sampled_from(["int64", "uint64", "float32", "bool"]),
    some=st.lists(st.booleans(), min_size=1, max_size=5),
    times=st.sampled_from([1, 30]),
)
def test_each_value_that_does_not_fit_is_named(dtype: str, some: list[bool], times: int) -> None:
    """By its row, in every format: the first twenty are described, and the others are counted."""
    rows = some * times
    good, bad = (True, 1) if dtype == "bool" else (7, True if dtype == "float32" else 2.5)
    values = [good if is_right else bad for is_right in rows]
    schema = Schema([TensorSpec(np.dtype(dtype), (-1,), "a"), TensorSpec(np.dtype("float64"), (-1,), "b")])
    wrong = [row for row, is_right in enumerate(rows) if not is_right]
    records = [{"b": 0.5, "a": value} for value in values]
    split = {"columns": ["b", "a"], "data": [list(record.values()) for record in records]}
    columns = {"b": [0.5] * len(rows), "a": values}
    for format_, content in ((Format.INPUTS, columns), (Format.INSTANCES, records), (Format.RECORDS, records),
                             (Format.SPLIT, split)):  # fmt: skip
        found = enforced(schema, format_, content)
        if not wrong:
            assert {name: array.tolist() for name, array in found.items()} == {"a": values, "b": columns["b"]}
            continue
        assert isinstance(found, Rejected)
        document = found.document()
        said = [(entry["rule"], entry["row"], entry["column"]) for entry in document["errors"]]
        assert said == [("type", row, "a") for row in wrong[:MAX_VIOLATIONS]]
        assert document.get("more_errors", 0) == max(0, len(wrong) - MAX_VIOLATIONS)


@pytest.mark.parametrize(
    "content", [[9007199254740993, 1.0], [1.0, 9223372036854775807], [-9007199254740993, 0.0, 3]], ids=str
)
def test_whole_numbers_beside_floats_keep_their_digits(content: list[float]) -> None:
    """A float among large integers does not make doubles of them."""
    assert enforced(Schema([TensorSpec(np.dtype("int64"), (-1,))]), Format.INPUTS, content).tolist() == content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([[1, 2], [3]], "The input is not a regular array: some lists at depth 2 have 1 items, and others 2."),
        ([[1, 2], 3], "The input is not a regular array: some items at depth 2 are lists, and some are not."),
        ({"a": [[1, 2]]}, "The signature has one unnamed tensor, and the input names ['a']"),
        ([], "Shape of input (0,) does not match expected shape (-1, 2)."),
        ([[1.5, math.nan]], "The input has nan: expected a finite number."),
    ],
)
def test_the_message_says_what_is_wrong(content: Any, words: str) -> None:
    """Of lists of different lengths the depth and the lengths, of values what they are."""
    found = enforced(Schema([TensorSpec(np.dtype("float32"), (-1, 2))]), Format.INPUTS, content)
    assert isinstance(found, Rejected)
    assert found.message.startswith(words)


@pytest.mark.parametrize("content", [[["x"]], [[0.5]], [], {"": [["x"]]}, {"0": [["x"]]}, [{"": ["x"]}]], ids=str)
def test_an_input_with_an_empty_name_is_no_reason_to_fail(content: Any) -> None:
    """MLflow calls it 0 in one place and nothing in another: a wrong request is refused all the same."""
    schema = Schema([TensorSpec(np.dtype("int64"), (-1, 1), "")])
    assert isinstance(enforced(schema, Format.INPUTS, content), Rejected)


NAMED = Schema([TensorSpec(np.dtype("float32"), (-1,), name) for name in "ab"])
RECORDS = [{"a": 1.5, "b": 2.5}] * 300


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([*RECORDS, {"a": 1.5, "b": 2.5, "x": 3.5}], "Model has no inputs ['x']: extra inputs are refused."),
        ([{"a": 1.5}] * 300, "Model is missing inputs ['b']."),
        ([{f"k{row}": 1.5} for row in range(300)], "Model is missing inputs ['a', 'b']. Note that there were extra"),
        ([{f"k{row}": 1.5} for row in range(20_000)], "Model is missing inputs ['a', 'b']. Note that there were extra"),
        ({f"k{row}": 1.5 for row in range(20_000)}, "The body names at least "),
    ],
)
def test_wrong_names_are_told_without_all_that_bears_them(
    content: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of long records and large objects no more is read than says so."""
    body = RawBody(json.dumps({"inputs": content}).encode())
    monkeypatch.setattr(RawBody, "exact", None)
    with pytest.raises(Rejected) as caught:
        decision.read_whole({"inputs": signature_document(NAMED)["inputs"]}, body.unread(), least=64)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize("last", [{"a": 1.5, "b": 2.5}, {"a": 1, "b": "x"}, None, [1.5]])
def test_records_with_the_right_names_are_read_whole(last: Any) -> None:
    """So are those among which something else stands: however long they are, the decision is the same."""
    inputs = {"inputs": signature_document(NAMED)["inputs"]}
    body = RawBody(json.dumps({"inputs": [*RECORDS, last]}).encode())
    assert decision.read_whole(inputs, body.unread(), least=64) == body.exact()


LEAVES = [
    1.5,
    2,
    -1,
    True,
    "x",
    "a longer one",
    None,
    1e39,
    10**30,
    2**63,
    2**64,
    -(2**63),
    math.nan,
    math.inf,
    [1],
    {},
]


@given(st.data())
def test_long_rows_for_one_tensor_are_refused_as_all_of_them(data: st.DataObject) -> None:
    """Whether they were looked through chunk by chunk or read whole, what is said of them is the same."""
    dtype = data.draw(st.sampled_from(["float32", "float64", "int32", "int64", "uint8", "bool", "complex64", "str"]))
    width = data.draw(st.integers(1, 3))
    shape = (-1, data.draw(st.sampled_from([width, width, 4])))
    inputs = {"inputs": signature_document(Schema([TensorSpec(np.dtype(dtype), shape)]))["inputs"]}
    some = data.draw(
        st.lists(st.lists(st.sampled_from(LEAVES), min_size=width, max_size=width), min_size=1, max_size=4)
    )
    rows = [some[0]] * 100
    for each in some[1:]:
        rows[data.draw(st.integers(0, 99))] = each
    if data.draw(st.integers(0, 5)) == 0:
        rows[data.draw(st.integers(0, 99))] = [1.5]
    names = data.draw(st.sampled_from([{}, {"columns": ["a", "b", "c"][:width]}, {"index": list(range(100))}]))
    policy = data.draw(drawn.allowances)
    body = RawBody(json.dumps({"dataframe_split": {"data": rows, **names}}).encode())
    refused = None
    try:
        decision.read_whole(inputs, body.unread(), policy, least=64)
    except Rejected as rejection:
        refused = rejection.document()
    event("refused" if refused else "read whole")
    if refused:
        with pytest.raises(Rejected) as caught:
            decision.decide(inputs, body.exact(), policy)
        assert refused == caught.value.document()


UNNAMED = Schema([TensorSpec(np.dtype("float32"), (-1, 2))])


@pytest.mark.parametrize("schema", [NAMED, UNNAMED], ids=["named", "unnamed"])
@pytest.mark.parametrize("row", [{"a": 2, "b": 3}, {"a": 2.0, "b": 3.0}, {"a": 2.5}, {"a": 1.5, "b": 1.5, "c": 1.5}])
def test_many_records_are_decided_on_as_few(row: dict[str, float], schema: Schema) -> None:
    """With the same message, or the same values."""
    contract = Contract(signature_document(schema))
    found = []
    for rows in (3, 20_000):
        try:
            array: Any = contract.check(json.dumps({"inputs": [row] * rows}).encode()).inputs
            found.append({name: values[0] for name, values in array.items()})
        except Rejected as rejection:
            found.append(rejection.message.replace(str((rows,)), "(rows,)"))
    assert found[0] == found[1]
