from __future__ import annotations

import json
from typing import Any

import pytest
from signet_contract import decode
from signet_contract.bulk.chunked_lists import ChunkedList, MustReadWhole
from signet_contract.bulk.numbers import Numbers
from signet_contract.bulk.tables import Table
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.errors import MalformedPayload
from signet_contract.request import RawBody

ROW = {"a": 1.5}


@pytest.mark.parametrize(
    ("document", "format_"),
    [
        (ROW, Format.COLUMNS),
        ({}, Format.COLUMNS),
        ({"inputs": 1.5, "more": 2.5}, Format.COLUMNS),
        ({"data": 1.5, "a": 2.5}, Format.COLUMNS),
        ([ROW], Format.RECORDS),
        ([{}], Format.RECORDS),
        ([], Format.INPUTS),
        ([ROW, 1.5], Format.INPUTS),
        ([[1.5]], Format.INPUTS),
        ([1.5], Format.INPUTS),
    ],
)
def test_what_has_no_key_is_told_by_its_shape(document: Any, format_: Format) -> None:
    """Objects are columns, lists of nothing but objects records, and all other lists rows."""
    assert decode(json.dumps(document).encode()) == DecodedRequest(format_, document)


@pytest.mark.parametrize(
    ("document", "format_", "type_"),
    [
        ([ROW] * 1000, Format.RECORDS, Table),
        ([[1.5]] * 1000, Format.INPUTS, Numbers),
        ({str(row): 1.5 for row in range(1000)}, Format.COLUMNS, Numbers),
        ({"a": [1.5] * 1000}, Format.COLUMNS, dict),
    ],
)
def test_large_bodies_are_told_as_small_ones_are(document: Any, format_: Format, type_: type) -> None:
    """What was read into arrays has the format that the lists and objects would have."""
    decoded = decode(json.dumps(document, separators=(",", ":")).encode())
    assert (decoded.format, type(decoded.content)) == (format_, type_)


@pytest.mark.parametrize(("item", "format_"), [(ROW, Format.RECORDS), ([1.5], Format.INPUTS), (1.5, Format.INPUTS)])
def test_a_long_list_is_told_by_its_first_item(item: Any, format_: Format) -> None:
    """Whether the others are alike is for enforcement to see."""
    decoded = RawBody(json.dumps([item] * 1000).encode()).chunked(64)
    assert (decoded.format, type(decoded.content)) == (format_, ChunkedList)


def test_a_long_object_of_rows_is_not_chunked() -> None:
    """Its names could be columns or rows."""
    with pytest.raises(MustReadWhole):
        RawBody(json.dumps({"data": {str(row): 1.5 for row in range(1000)}}).encode()).chunked(64)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("1", "number"), ("1.5", "number"), ("true", "boolean"), ("null", "null"), ('"x"', "string")],
)
def test_neither_an_object_nor_a_list_is_rejected_by_its_kind(text: str, kind: str) -> None:
    """The message names what came, in JSON's words."""
    with pytest.raises(MalformedPayload) as caught:
        decode(text.encode())
    assert caught.value.message.startswith(f"The body is a JSON {kind}; expected ")
    assert [violation.got for violation in caught.value.violations] == [f"a JSON {kind}"]
