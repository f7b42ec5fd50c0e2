from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from typing import Any

import long_requests_drawn as long
import numpy as np
import pytest
import requests_drawn as drawn
from hypothesis import event, given
from hypothesis import strategies as st
from mlflow.types import Schema, TensorSpec
from signet_contract import errors, request
from signet_contract.contract import Contract
from signet_contract.decoded_request import DecodedRequest
from signet_contract.enforcement import column_names, column_values, columns, decision, tensors
from signet_contract.enforcement.row_excerpt import Excerpt
from signet_contract.errors import MAX_VIOLATIONS, MalformedPayload, Rejected

from testing.oracle import columns_schema, signature_document


def said(schema: Schema, content: DecodedRequest, allow: frozenset[str], *, is_cut: bool) -> Any:
    """What a request is refused with, by way of its excerpt or not; None if it is accepted."""
    try:
        if is_cut:
            Contract(signature_document(schema), allow).enforce_here(content, is_unread=False)
        else:
            decision._array(schema, content, allow)
    except Rejected as rejection:
        document = rejection.document()
        return document["message"], document["errors"], document.get("more_errors")
    return None


@given(st.data())
def test_an_excerpt_is_refused_as_the_whole(data: st.DataObject) -> None:
    """Message, first twenty violations and the number of the others are those that the whole table has."""
    schema = data.draw(drawn.column_schemas(data.draw(st.sampled_from([drawn.NUMBERS, drawn.TYPES, ["double"]]))))
    content = data.draw(long.payloads(schema))
    allow = data.draw(st.one_of(st.just(frozenset[str]()), drawn.allowances))
    whole = said(schema, content, allow, is_cut=False)
    try:
        is_cut = Excerpt(schema, content, allow).decoded is not content
    except Rejected:
        is_cut = True
    event(f"{'cut' if is_cut else 'whole'}, {'accepted' if whole is None else 'refused'}")
    assert said(schema, content, allow, is_cut=True) == whole


@given(st.data())
def test_an_excerpt_of_csv_is_refused_as_the_whole(data: st.DataObject) -> None:
    """Likewise where pandas has read the values."""
    schema = columns_schema(("double", "a"), ("string", "b", False))
    cells = st.sampled_from(["1.5", "2", "", "inf", "-7", "x", "1e39", "1" + "0" * 30])
    values = data.draw(st.lists(st.tuples(cells, cells), min_size=1, max_size=3))
    lines = [",".join(values[row % len(values)]) for row in range(100)]
    source = request.RawBody("\n".join(["a,b", *lines]).encode(), is_csv=True)
    content, frame = source.decode(), source.exact()
    try:
        frame = replace(frame, content=columns.read(schema, frame, frozenset()))
    except MalformedPayload:
        return
    assert said(schema, content, frozenset(), is_cut=True) == said(schema, frame, frozenset(), is_cut=False)


def rejection(schema: Schema, body: bytes, media: str = "") -> Rejected:
    document = signature_document(schema)
    with pytest.raises(Rejected) as caught:
        Contract(document).enforce_here(request.decode(body, media), is_unread=False)
    return caught.value


TWO = columns_schema(("double", "a"), ("double", "b"))
WIDE = columns_schema(*(("double", f"c{index}") for index in range(5000)))
TENSOR = Schema([TensorSpec(np.dtype("float32"), (-1, 4))])
TENSORS = Schema([TensorSpec(np.dtype("float32"), (-1,), "a"), TensorSpec(np.dtype("float32"), (-1,), "b")])
ONE_KEY_EACH = json.dumps([{f"k{index}": 1.5} for index in range(30_000)]).encode()
OWN_LABELS = {f"c{index}": {f"{index}.{row}": 1.5 for row in range(20)} for index in range(5000)}
MISSING = "Model is missing inputs ['a', 'b']. Note that there were extra inputs: ['k0', "
MANY_NAMES = json.dumps({"dataframe_split": {"columns": ["c"] * 100_000, "data": [[1.5] * 100_000]}}).encode()
MANY_LABELS = json.dumps({"dataframe_split": {"columns": ["c"] * 100_000, "data": [[1.5, 2.5]]}}).encode()
ONLY_LABELS = json.dumps({"dataframe_split": {"columns": [1.5] * 100_000}}).encode()
TOO_MANY_LABELS = "The 'columns' of dataframe_split cannot be read as rows and columns: a row has at least "


@pytest.mark.parametrize(
    ("schema", "body", "message", "count"),
    [
        (TWO, ONE_KEY_EACH[: ONE_KEY_EACH.index(b', {"k500"')] + b"]", MISSING, 502),
        (TENSORS, b'{"inputs":' + ONE_KEY_EACH + b"}", MISSING, 12_223),
        (TENSORS, ONE_KEY_EACH, "The dataframe_records would become a table of 30000 rows and 30000 columns", 1),
        (TENSOR, b'{"dataframe_records":' + ONE_KEY_EACH + b"}", "The dataframe_records would become a table of", 1),
        (TWO, MANY_NAMES, "The body cannot be read as rows and columns: a row has at least ", 1),
        (TWO, MANY_LABELS, TOO_MANY_LABELS, 1),
        (TWO, ONLY_LABELS, TOO_MANY_LABELS, 1),
        (WIDE, json.dumps(OWN_LABELS).encode(), "The columns would become a table of 100000 rows and 5000 columns", 1),
        (WIDE, b"{}", "Model is missing inputs ['c0', ", 5000),
        (TWO, b'{"a": 1.5, "b": 2.5, "' + b"x" * 1_000_000 + b'": 1}', "Model has no inputs ['xxx", 1),
        (
            TENSOR,
            json.dumps({"inputs": [["x" * 1_000_000, 1, 1, 1]] + [[1] * 4] * 20_000}).encode(),
            "dtype of input",
            1,
        ),
    ],
)
def test_what_a_body_would_become_is_known_before(schema: Schema, body: bytes, message: str, count: int) -> None:
    """A small body that makes a huge table, array or list of violations is refused without one, and in few words."""
    tracemalloc.start()
    refused = rejection(schema, body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    answer = refused.document()
    assert refused.message.startswith(message)
    assert len(answer["errors"]) + answer.get("more_errors", 0) == count
    assert len(json.dumps(answer)) < 40_000
    assert peak < 100 * 2**20


@pytest.mark.parametrize("text", ["%s\n1,2\n", "\n\n%s\n1,2\n", "a,b\n%s\n", "a,b\r%s\r", 'a,b\n"1",%s\n'])
def test_csv_of_too_many_columns_is_refused(text: str) -> None:
    """Pandas never sees a line of so many cells, be it the header or a row."""
    refused = rejection(TWO, (text % ",".join(["1"] * 100_000)).encode(), "text/csv")
    assert refused.message.startswith("The csv cannot be read as rows and columns: a row has at least 10000")


def test_csv_may_have_commas_in_its_texts() -> None:
    """Cells are counted, not commas."""
    document = signature_document(columns_schema(("string", "a"), ("double", "b")))
    body = b'a,b\n"' + b"," * 100_000 + b'",x\n'
    with pytest.raises(Rejected, match="Failed to parse input as a Pandas DataFrame"):
        Contract(document).enforce_here(request.decode(body, "text/csv"), is_unread=False)


@pytest.mark.parametrize("extra", [1, 20, 21, 3000])
@pytest.mark.parametrize("key", ["dataframe_records", "inputs", "dataframe_split"])
def test_extra_columns_are_named_up_to_twenty(key: str, extra: int) -> None:
    """The message names the first twenty, as the list of violations does, which counts the others."""
    names = [f"k{index}" for index in range(extra)]
    record = dict.fromkeys(["a", *names, "b"], 1.5)
    content: Any = {
        "dataframe_records": [record] * 3,
        "inputs": {name: [value] * 3 for name, value in record.items()},
        "dataframe_split": {"columns": list(record), "data": [list(record.values())] * 3},
    }[key]
    refused = rejection(TWO, json.dumps({key: content}).encode())
    more = " and more" if extra > MAX_VIOLATIONS else ""
    assert refused.message == f"Model has no inputs {names[:MAX_VIOLATIONS]}{more}: extra inputs are refused."
    assert [violation.column for violation in refused.violations[:MAX_VIOLATIONS]] == names[:MAX_VIOLATIONS]
    assert refused.document().get("more_errors", 0) == max(0, extra - MAX_VIOLATIONS)


@pytest.mark.parametrize(
    ("schema", "wrong"),
    [
        *((TWO, wrong) for wrong in (None, True, "x", "1.5", 7, float("inf"), [], {})),
        *((schema, wrong) for schema in (TENSOR, TENSORS) for wrong in (None, True, "x", 1e39, float("inf"), [], {})),
    ],
    ids=str,
)
def test_a_body_in_which_everything_is_wrong_makes_few_problems(
    schema: Schema, wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many values are wrong, twenty are described and the others are counted."""
    made: list[errors.Violation] = []

    class Counted(errors.Violation):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            made.append(self)
            super().__init__(*args, **kwargs)

    for module in (columns, column_values, tensors, column_names):
        monkeypatch.setattr(module, "Violation", Counted)
    rows = 20_000
    content = [[wrong] * 4] * rows if schema is TENSOR else {"a": [wrong] * rows, "b": [wrong] * rows}
    refused = rejection(schema, json.dumps({"inputs": content}).encode())
    assert refused.message
    assert len(made) < 200
