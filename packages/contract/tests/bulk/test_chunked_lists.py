from __future__ import annotations

import json
from typing import Any

import pytest
import requests_drawn as drawn
from hypothesis import given
from hypothesis import strategies as st
from signet_contract.bulk import chunked_lists
from signet_contract.bulk.chunked_lists import ChunkedList, MustReadWhole

ODD = ["],[", '},{"', 'a","b', ",", "\\", '"', "NaN", "Infinity", "é"]
items = st.one_of(
    drawn.anything,
    st.sampled_from(ODD),
    st.lists(st.sampled_from(ODD)),
    st.dictionaries(st.sampled_from(ODD), st.none()),
)
SOME = [0, 7, 29, 30, 89]


@given(st.lists(items, min_size=1, max_size=4), st.sampled_from([None, 1]))
def test_chunks_are_the_list(some: list[Any], indent: int | None) -> None:
    """Wherever a list is cut, and whatever its texts hold, its items are those that the whole has, or it is not cut."""
    whole = [some[row % len(some)] for row in range(90)]
    body = json.dumps({"a": {"b": whole, "c": 1}, "d": {"e": whole}}, indent=indent, ensure_ascii=False).encode()
    try:
        found = chunked_lists.loads(body, frozenset({"a"}), 64)
        assert repr(found["d"]) == repr({"e": whole})
        assert found["a"]["c"] == 1
        cut = found["a"]["b"]
        assert [repr(item) for _, chunk in cut.chunks() for item in chunk] == list(map(repr, whole))
        assert len(cut) == 90
        assert repr(cut.take(SOME)) == repr([whole[row] for row in SOME])
    except MustReadWhole:
        assert any(odd in json.dumps(some, ensure_ascii=False) for odd in ODD)


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e400", "123456789012345678901234567890", '"\\u00e9"'])
def test_what_few_parsers_read_is_read(value: str) -> None:
    """Numbers that JSON does not have, and those beyond 64 bits, are what Python reads."""
    whole = json.loads(value)
    cut = chunked_lists.loads(f'{{"n": [{",".join([value] * 30000)}]}}'.encode(), frozenset())["n"]
    assert isinstance(cut, ChunkedList)
    assert len(cut) == 30000
    assert repr(cut.take([0, 29999])) == repr([whole, whole])


@pytest.mark.parametrize(
    "body",
    [
        b"[%s" % (b"1," * 99),
        b"[%s]" % (b"1," * 99),
        b"[%s] x" % (b"1," * 99 + b"1"),
        b'{"NaN": [%s]}' % (b"NaN," * 99 + b"1"),
        b'[["%s"], 1]' % (b"x" * 99_999),
        b"[" * 99_999,
        b"",
    ],
)
def test_what_cannot_be_cut_is_left_whole(body: bytes) -> None:
    """What is no JSON, names that may be others, and lists that are long because an item is, are for another parser."""
    with pytest.raises(MustReadWhole):
        chunked_lists.loads(body, frozenset(), 64)
