from __future__ import annotations

import json
from dataclasses import replace

import long_requests_drawn as long
import pytest
import requests_drawn as drawn
from hypothesis import event, given
from hypothesis import strategies as st
from mlflow.types import Schema
from signet_contract import request
from signet_contract.bulk.chunked_lists import ChunkedList
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.enforcement import decision
from signet_contract.errors import Rejected

from testing.oracle import signature_document


def text(content: DecodedRequest, indent: int | None, infinity: str = "Infinity") -> bytes:
    """The body that a request is decoded from."""
    is_bare = content.format is Format.COLUMNS
    body = json.dumps(content.content if is_bare else {content.format.value: content.content}, indent=indent)
    return body.replace("Infinity", infinity).encode()


@st.composite
def odd_rows(draw: st.DrawFn, schema: Schema) -> DecodedRequest:
    """Rows of several lengths or types, or of another length than the columns or the index."""
    value = st.one_of(drawn.anything, st.sampled_from([1.5, "],[", '},{"', 'a","b', "\\"]))
    record = st.dictionaries(st.sampled_from("abx"), value, min_size=1)
    sort = st.one_of(st.lists(value, min_size=1, max_size=3), record, value)
    sorts = draw(st.lists(sort, min_size=1, max_size=4))
    rows = [sorts[0]] * 90
    for sort in sorts[1:]:
        rows[draw(st.integers(0, 89))] = sort
    names = schema.input_names() if schema.has_input_names() else list(range(len(schema.inputs)))
    label = draw(st.sampled_from([7, "x", [1], None, {"a": 1}]))
    index = [label] * (90 - draw(st.integers(0, 1)))
    labelled = {str(row): value for row, value in enumerate(rows)}
    formats = [
        (Format.INPUTS, rows),
        (Format.COLUMNS, rows),
        (Format.RECORDS, rows),
        (Format.INSTANCES, rows),
        (Format.SPLIT, {"columns": names, "data": rows}),
        (Format.SPLIT, {"columns": names * draw(st.sampled_from([1, 30])), "data": rows}),
        (Format.SPLIT, {"columns": names, "data": rows, "index": index}),
        (Format.SPLIT, {"data": labelled}),
        (Format.INPUTS, dict.fromkeys(names, rows) | {names[-1]: draw(st.sampled_from([index, labelled, label]))}),
    ]
    return DecodedRequest(*draw(st.sampled_from(formats)))


def shortened(content: DecodedRequest, body: bytes) -> list[DecodedRequest]:
    """The request, and as many of its first rows as each of the long list's first chunks has."""
    inside = request.RawBody(body).chunked(64).content
    rows = inside.get("data") if content.format is Format.SPLIT else inside
    if not isinstance(rows, ChunkedList):
        return [content]
    ends = [start + len(chunk) for start, chunk in rows.chunks()]
    if content.format is not Format.SPLIT:
        return [replace(content, content=content.content[:end]) for end in ends]
    of_rows = {name: part for name, part in content.content.items() if name in ("data", "index")}
    firsts = [{name: part[:end] for name, part in of_rows.items()} for end in ends]
    return [replace(content, content=content.content | first) for first in firsts]


@given(st.data())
def test_a_long_body_is_refused_as_its_first_rows(data: st.DataObject) -> None:
    """Where a body is looked through chunk by chunk, what is said of it is what is said of all rows up to there."""
    schema = data.draw(drawn.column_schemas(data.draw(st.sampled_from([drawn.NUMBERS, drawn.TYPES, ["double"]]))))
    allow = data.draw(st.one_of(st.just(frozenset[str]()), drawn.allowances))
    content = data.draw(st.one_of(long.payloads(schema), long.payloads(schema), odd_rows(schema)))
    how = data.draw(st.sampled_from([None, 1])), data.draw(st.sampled_from(["Infinity", "1e400"]))
    body = text(content, *how)
    source = request.RawBody(body)
    inputs = signature_document(schema)["inputs"]
    decoded = source.decode() if data.draw(st.booleans()) else source.unread()
    refused = None
    try:
        decision.read_whole({"inputs": inputs}, decoded, allow, least=64)
    except Rejected as rejection:
        refused = rejection.document()
    event("refused" if refused else "left to who looks at all")
    if refused is None:
        return
    with pytest.raises(Rejected) as caught:
        decision.decide({"inputs": inputs}, source.exact(), allow)
    if refused == caught.value.document():
        return
    event("refused for its first rows")
    said_of_first = []
    for first in shortened(content, body):
        try:
            decision.decide({"inputs": inputs}, request.RawBody(text(first, *how)).exact(), allow)
        except Rejected as rejection:
            said_of_first.append(rejection.document())
    assert refused in said_of_first
