from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.errors import MalformedPayload
from signet_contract.request import decode, decode_form

ROW = {"a": 1.5}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"data": ['{"a": 1.5}']}, DecodedRequest(Format.COLUMNS, ROW)),
        ({"data": '{"a": 1.5}'}, DecodedRequest(Format.COLUMNS, ROW)),
        ({"data": ['[{"a": 1.5}]']}, DecodedRequest(Format.RECORDS, [ROW])),
        (
            {"data": ['{"a": 1.5}', '{"a": {"0": 2.5, "1": 3}}']},
            DecodedRequest(Format.RECORDS, [ROW, {"a": 2.5}, {"a": 3}]),
        ),
        ({"data": ROW}, DecodedRequest(Format.COLUMNS, ROW)),
        ({"data": [ROW]}, DecodedRequest(Format.RECORDS, [ROW])),
        ({"data": [1.5, 2.5]}, DecodedRequest(Format.COLUMNS, {"data": [1.5, 2.5]})),
        ({"data": 1.5}, DecodedRequest(Format.COLUMNS, {"data": 1.5})),
        ({"data": [[1.5]]}, DecodedRequest(Format.INPUTS, [[1.5]])),
        (ROW, DecodedRequest(Format.COLUMNS, ROW)),
        ([ROW], DecodedRequest(Format.RECORDS, [ROW])),
        ([[1.5]], DecodedRequest(Format.INPUTS, [[1.5]])),
        ({"inputs": ROW}, DecodedRequest(Format.INPUTS, ROW, wrapped=True)),
        ({"instances": [ROW]}, DecodedRequest(Format.INSTANCES, [ROW], wrapped=True)),
        ({"dataframe_records": [ROW]}, DecodedRequest(Format.RECORDS, [ROW], wrapped=True)),
        ({"dataframe_split": {"data": []}}, DecodedRequest(Format.SPLIT, {"data": []}, wrapped=True)),
        ({"inputs": ROW, "params": {"t": 1}}, DecodedRequest(Format.INPUTS, ROW, wrapped=True, params={"t": 1})),
        ({"inputs": 1.5, "more": 2.5}, DecodedRequest(Format.COLUMNS, {"inputs": 1.5, "more": 2.5})),
        ({"data": 1.5, "a": 2.5}, DecodedRequest(Format.COLUMNS, {"data": 1.5, "a": 2.5})),
    ],
)
def test_json_is_recognised_by_its_shape(document: Any, expected: DecodedRequest) -> None:
    """Each format is known by its keys; what has none of them is columns, records or nested lists."""
    assert decode(json.dumps(document).encode()) == expected


@pytest.mark.parametrize("media", ["text/csv", "text/csv; charset=utf-8", "Text/CSV"])
def test_csv_is_known_by_its_media_type(media: str) -> None:
    """Text is CSV only where the Content-Type says so."""
    assert decode("é\nx\n".encode(), media) == DecodedRequest(Format.CSV, "é\nx\n")


@pytest.mark.parametrize("media", ["", "application/json", "application/vnd.iris+json", "text/plain", "nonsense"])
def test_every_other_media_type_is_read_as_json(media: str) -> None:
    """JSON needs no Content-Type."""
    assert decode(bytearray(b'{"a": 1.5}'), media) == DecodedRequest(Format.COLUMNS, ROW)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b'{"a": 1.5}', DecodedRequest(Format.COLUMNS, ROW)),
        (b'[{"a": 1.5}]', DecodedRequest(Format.RECORDS, [ROW])),
        (b'{"inputs": {"a": 1.5}}', DecodedRequest(Format.INPUTS, ROW, wrapped=True)),
        (b'{"data": ["{\\"a\\": 1.5}"]}', DecodedRequest(Format.COLUMNS, ROW)),
    ],
)
def test_a_form_holds_json_in_its_field_data(field: bytes, expected: DecodedRequest) -> None:
    """The form field `data` holds what a body may hold."""
    assert decode_form({"other": b"x", "data": field}) == expected


@pytest.mark.parametrize(
    ("body", "message", "got"),
    [
        (b"1.5", "The body is a JSON number; expected ", "a JSON number"),
        (b"null", "The body is a JSON null; expected ", "a JSON null"),
        (
            b'{"inputs": 1, "instances": 2}',
            "The body has ['inputs', 'instances']: exactly one of them is expected.",
            "['inputs', 'instances']",
        ),
        (b'{"data": ["1.5", "2.5"]}', "The body is a JSON number; expected ", "a JSON number"),
        (
            b'{"data": ["[[1.5]]", "{}"]}',
            "Several texts under 'data' must each hold columns or records.",
            "a JSON list",
        ),
        (
            b'{"data": ["{}", "{\\"a\\": [1, 2], \\"b\\": 3}"]}',
            "The columns under 'data' have different lengths: {'a': 2, 'b': 1}.",
            "{'a': 2, 'b': 1}",
        ),
        (b'{"data": ["{"]}', "The body is not JSON: Expecting property name", "Expecting property name"),
    ],
)
def test_what_cannot_be_read_says_where(body: bytes, message: str, got: str) -> None:
    """A body in no format is refused with what was found, and where."""
    with pytest.raises(MalformedPayload) as caught:
        decode(body).exact()
    assert caught.value.message.startswith(message)
    (violation,) = caught.value.violations
    assert violation.rule == "format"
    assert violation.got.startswith(got)


@pytest.mark.parametrize(
    ("fields", "has"),
    [
        ({"a": b"1", "b": b"2"}, "it has ['a', 'b']"),
        ({}, "it has no field with a value"),
        ({'{"data": ["' + "x" * 10_000: b"1"}, "it has "),
        ({"[[1.5]]": b""}, "it has ['[[1.5]]']"),
        ({"": b"1"}, "it has ['']"),
        ({str(number): b"" for number in range(10_000)}, "it has ['0', "),
    ],
)
def test_a_form_without_the_field_is_told_the_headers_of_other_bodies(fields: dict[str, bytes], has: str) -> None:
    """A form with other fields says which it has, shortly, and which header JSON and CSV need."""
    with pytest.raises(MalformedPayload) as caught:
        decode_form(fields)
    message = caught.value.message
    assert message.startswith(f"The form has no field 'data': {has}")
    assert "'Content-Type: application/json' for JSON, 'Content-Type: text/csv' for CSV." in message
    assert len(message) < 400


@pytest.mark.parametrize("body", [gzip.compress(b"{}"), b"\x28\xb5\x2f\xfd\x20\x02{}"])
@pytest.mark.parametrize("media", ["", "text/csv"])
def test_a_compressed_body_is_told_so(body: bytes, media: str) -> None:
    """A body in gzip's or zstd's format says that it must not be compressed."""
    with pytest.raises(MalformedPayload, match=r"It is compressed: send it uncompressed\."):
        decode(body, media)
