from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signet_contract import decode, request
from signet_contract.bulk.chunked_lists import ChunkedList
from signet_contract.bulk.numbers import Numbers
from signet_contract.bulk.tables import Table
from signet_contract.codecs import seed
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.errors import MalformedPayload
from signet_contract.request import RawBody

ROW = {"a": 1.5}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (['{"a": 1.5}'], DecodedRequest(Format.COLUMNS, ROW)),
        ('{"a": 1.5}', DecodedRequest(Format.COLUMNS, ROW)),
        (['[{"a": 1.5}]'], DecodedRequest(Format.RECORDS, [ROW])),
        (["[[1.5]]"], DecodedRequest(Format.INPUTS, [[1.5]])),
        (ROW, DecodedRequest(Format.COLUMNS, ROW)),
        ([ROW], DecodedRequest(Format.RECORDS, [ROW])),
        ([[1.5]], DecodedRequest(Format.INPUTS, [[1.5]])),
    ],
)
def test_data_holds_rows_as_texts_or_as_they_are(data: Any, expected: DecodedRequest) -> None:
    """One text of JSON, alone or in a list, is read as a bare body; so is what is no text."""
    assert decode(json.dumps({"data": data}).encode()) == expected


@pytest.mark.parametrize("column", [[1.5, 2.5], 1.5, None, True, [None, "x"], []])
def test_a_column_may_be_called_data(column: Any) -> None:
    """Values that are neither rows nor texts are a column of that name."""
    assert decode(json.dumps({"data": column}).encode()) == DecodedRequest(Format.COLUMNS, {"data": column})


@pytest.mark.parametrize(("item", "is_column"), [(1.5, True), ([1.5], False), (ROW, False)])
def test_a_long_column_may_be_called_data(item: Any, *, is_column: bool) -> None:
    """Numbers that were read into arrays, or not read yet, are told from rows as lists are."""
    body = json.dumps({"data": [item] * 1000}).encode()
    for decoded, kinds in ((decode(body), (Numbers, Table)), (RawBody(body).chunked(64), (ChunkedList,))):
        content = decoded.content["data"] if is_column else decoded.content
        assert (decoded.format is Format.COLUMNS) is is_column
        assert isinstance(content, kinds)


@pytest.mark.parametrize(
    ("texts", "rows"),
    [
        ([{"a": 1.5}, {"a": {"0": 2.5, "1": 3}}], [{"a": 1.5}, {"a": 2.5}, {"a": 3}]),
        ([[{"a": 1}], {"a": [2, 3]}, {"a": 4}], [{"a": 1}, {"a": 2}, {"a": 3}, {"a": 4}]),
        ([[{"a": 1}], [{"b": 2}]], [{"a": 1}, {"b": 2}]),
        ([{}, [{"a": 1}]], [{"a": 1}]),
    ],
)
def test_several_texts_are_rows_one_after_another(texts: list[Any], rows: list[Any]) -> None:
    """Columns, however they are written, and records are rows of one request, in the order of the texts."""
    body = json.dumps({"data": list(map(json.dumps, texts))}).encode()
    assert decode(body) == DecodedRequest(Format.RECORDS, rows)


@pytest.mark.parametrize(
    ("texts", "message", "got"),
    [
        (["[[1.5]]", "{}"], "Several texts under 'data' must each hold columns or records.", "a JSON list"),
        (["1.5", "2.5"], "The body is a JSON number; expected ", "a JSON number"),
        (["1.5"], "The body is a JSON number; expected ", "a JSON number"),
        (["{"], "The body is not JSON: Expecting property name", "Expecting property name"),
        (["{}", "{"], "The body is not JSON: Expecting property name", "Expecting property name"),
        (
            ["{}", '{"a": [1, 2], "b": 3}'],
            "The columns under 'data' have different lengths: {'a': 2, 'b': 1}.",
            "{'a': 2, 'b': 1}",
        ),
    ],
)
def test_texts_that_hold_no_rows_are_rejected(texts: list[str], message: str, got: str) -> None:
    """The message says what is wrong with the text, not with the JSON around it."""
    with pytest.raises(MalformedPayload) as caught:
        decode(json.dumps({"data": texts}).encode())
    assert caught.value.message.startswith(message)
    (violation,) = caught.value.violations
    assert violation.rule == "format"
    assert violation.got.startswith(got)


@pytest.mark.parametrize("count", [1, 2])
def test_texts_in_a_text_are_as_exact_as_the_text(count: int) -> None:
    """An integer beyond 64 bits stays one in each of them, also where long lists are looked through chunk by chunk."""
    text = json.dumps([{"a": 10**30}])
    body = RawBody(json.dumps({"data": [text] * count}).encode())
    for decoded in (body.exact(), body.chunked(1)):
        rows = decoded.content.take(range(count)) if isinstance(decoded.content, ChunkedList) else decoded.content
        assert [row["a"] for row in rows] == [10**30] * count
        assert {type(row["a"]) for row in rows} == {int}


SOME_TEXTS = ['{"a": 1}', ' {"a": 1.5}\n', '[{"a": 10000000000000000000000}]', '{"a": [1, 2]}', '{"a": "],["}', "{}"]
ODD_TEXTS = ["", "[1", "2]", '{"a": 1},{"a": 2}', '1,[{"a": 1}', '{"a": NaN}', '{"a": "\\ud800"}', "\ud800", "1e400"]


@given(st.lists(st.sampled_from([*SOME_TEXTS, *ODD_TEXTS, "[" * 32 + "]" * 32, "[" * 33 + "]" * 33]), min_size=1))
def test_texts_are_read_together_as_each_is_alone(texts: list[str]) -> None:
    """Also where they would be JSON together, and none of them is."""
    for reader in (request._FAST, request._EXACT):
        try:
            alone: Any = [reader.read_whole(text.encode("utf-8", "surrogatepass")) for text in texts]
        except MalformedPayload as error:
            alone = error.message
        try:
            found: Any = seed._documents(texts, reader)
        except MalformedPayload as error:
            found = error.message
        assert repr(found) == repr(alone)
