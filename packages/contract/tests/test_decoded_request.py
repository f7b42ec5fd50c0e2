from __future__ import annotations

import pytest
from signet_contract import decode
from signet_contract.decoded_request import UNREAD, DecodedRequest, Format
from signet_contract.errors import MalformedPayload
from signet_contract.request import RawBody

BEYOND = b'{"inputs": {"a": [18446744073709551616]}}'  # 64 bits


def test_an_exact_request_has_integers_that_the_fast_one_lost() -> None:
    """Beyond 64 bits they are floats until the body is read exactly; all else stays."""
    source = RawBody(BEYOND)
    assert [type(value) for value in source.decode().content["a"]] == [float]
    exact = source.exact()
    assert exact == DecodedRequest(Format.INPUTS, {"a": [2**64]}, wrapped=True)
    assert exact.is_exact
    assert [type(value) for value in exact.content["a"]] == [int]


def test_what_is_unread_is_malformed_once_it_is_read() -> None:
    """Until then nothing is known of it, nor said."""
    unread = RawBody(b"{").unread()
    assert unread.content is UNREAD
    assert unread.source is not None
    with pytest.raises(MalformedPayload, match="The body is not JSON"):
        unread.source.exact()


def test_requests_are_equal_by_what_they_hold() -> None:
    """Two bodies that are written in different ways are the same request."""
    one, other = decode(b'{"inputs":{"a":[1.5]}}'), decode(b'{"inputs": {"a": [1.50]}}')
    assert one == other
    assert one != decode(b'{"instances":{"a":[1.5]}}')
