from __future__ import annotations

import json
from typing import Any

import pytest
import requests_drawn as drawn
from hypothesis import given
from hypothesis import strategies as st
from signet_contract.bulk import chunked_json, chunked_lists
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
        found = chunked_json.loads(body, {"a": True}, 64)
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
    cut = chunked_json.loads(f'{{"n": [{",".join([value] * 30000)}]}}'.encode(), {})["n"]
    assert isinstance(cut, ChunkedList)
    assert len(cut) == 30000
    assert repr(cut.take([0, 29999])) == repr([whole, whole])


@pytest.mark.parametrize("place", [0, 1, 150, 299])
@pytest.mark.parametrize("item", [["x" * 99_999], ["],[" * 30_000], [[1.5] * 30_000], "x" * 99_999], ids=repr)
def test_an_item_may_be_long(item: Any, place: int) -> None:
    """Wherever it stands among short ones. If it is the first, the list may have been read whole to find its end."""
    items = [[1.5, "a"]] * 300 if isinstance(item, list) else ["a"] * 300
    items[place] = item
    found = chunked_json.loads(json.dumps(items).encode(), {})
    if isinstance(found, list):
        assert (place, found) == (0, items)
        return
    assert [each for _, chunk in found.chunks() for each in chunk] == items
    assert found.take([place]) == [item]


def test_a_list_of_one_chunk_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a Python list then, as it has been read whole."""
    parsed: list[bytes] = []
    monkeypatch.setattr(chunked_lists, "_orjson", lambda items: parsed.append(items) or json.loads(items))
    items = [{"a": "x" * 200_000}]
    found = chunked_json.loads(json.dumps(items).encode(), {})
    assert found == items
    assert len(parsed) == 1


@pytest.mark.parametrize("odd", [1.5, "],[", [[]], {"a": "],["}, 10**30, float("nan")], ids=repr)
def test_items_are_counted_without_being_made(odd: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where simdjson reads them; else they are made after all, and the number is the same."""
    items = [["a", 1.5]] * 9_000
    found = chunked_json.loads(json.dumps(items).encode(), {})
    made = chunked_json.loads(json.dumps([*items, odd, *items]).encode(), {})
    assert len(made) == 18_001
    assert made.take([9_000, 18_000])[1] == ["a", 1.5]
    monkeypatch.setattr(ChunkedList, "_parsed", None)
    assert len(found) == 9_000
