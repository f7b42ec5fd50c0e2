from __future__ import annotations

import json
from typing import Any

import pytest
from signet_contract.bulk import chunked_json
from signet_contract.bulk.chunked_json import TooWide
from signet_contract.bulk.chunked_lists import MustReadWhole


@pytest.mark.parametrize(
    "body",
    [
        b"[%s" % (b"1," * 99),
        b"[%s]" % (b"1," * 99),
        b"[%s] x" % (b"1," * 99 + b"1"),
        b'{"NaN": [%s]}' % (b"NaN," * 99 + b"1"),
        b"[" * 99_999,
        b"",
    ],
)
def test_what_cannot_be_cut_is_left_whole(body: bytes) -> None:
    """What is no JSON, and names that may be others, are for another parser."""
    with pytest.raises(MustReadWhole):
        chunked_json.loads(body, {}, 64)


NUMBERS = [1.5] * 100_000
NAMES = {f"k{index}": 1.5 for index in range(40_000)}


@pytest.mark.parametrize(
    "body", [[NUMBERS], [NAMES], NAMES, {"inputs": NAMES}, {"inputs": [NAMES, {}]}, {"a": [NUMBERS]}]
)
def test_what_has_too_many_members_is_not_read(body: Any) -> None:
    """Neither an object of so many columns, nor rows of which the first has so many values."""
    text = json.dumps(body).encode()
    with pytest.raises(TooWide) as caught:
        chunked_json.loads(text, {"inputs": True}, most_members=10_000, most_items=10_000)
    assert 10_000 < caught.value.width <= 100_000
    chunked_json.loads(text, {"inputs": True}, most_members=100_000, most_items=100_000)


def test_where_no_limits_hold_any_number_of_members_is_read() -> None:
    """As in an object of params, of which those that nobody knows are left out."""
    for params in (NAMES, [NUMBERS], {"p": [NUMBERS]}):
        text = json.dumps({"inputs": [], "params": params}).encode()
        found = chunked_json.loads(text, {"inputs": True, "params": False}, most_members=10_000, most_items=10_000)
        assert len(found["params"]) == len(params)


def test_an_object_of_too_many_members_is_seen_by_its_beginning() -> None:
    """What follows need not be JSON."""
    with pytest.raises(TooWide):
        chunked_json.loads(json.dumps(NAMES).encode()[:-100], {}, most_members=10_000)
