from __future__ import annotations

import gzip

import pytest
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.errors import MalformedPayload
from signet_contract.request import decode, decode_form

ROW = {"a": 1.5}


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
