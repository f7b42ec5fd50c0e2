from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from signet_contract.bulk.chunked_lists import MustReadWhole
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.enforcement import list_access
from signet_contract.enforcement.value_kinds import ABSENT
from signet_contract.request import RawBody

VALUES = [row + 0.5 for row in range(3000)]
LABELLED = {str(row): value for row, value in enumerate(VALUES)}


def read(values: Any, way: str) -> Any:
    """A column, read in one of the ways."""
    source = RawBody(json.dumps({"inputs": {"a": values}}).encode())
    decoded = {"exact": source.exact, "array": source.decode, "chunks": lambda: source.chunked(64)}[way]()
    return decoded.content["a"]


@pytest.mark.parametrize("way", ["exact", "array", "chunks"])
@pytest.mark.parametrize("values", [VALUES, LABELLED], ids=["list", "labelled"])
def test_a_list_has_the_same_items_however_it_was_read(values: Any, way: str) -> None:
    """All of them in order, and those that are asked for."""
    found = read(values, way)
    if type(found) is dict:
        assert not list_access.is_list(found)
        return
    assert list_access.is_list(found)
    assert list_access.is_labelled(found) is (values is LABELLED)
    chunks = list(list_access.chunks(found))
    assert np.concatenate([chunk for _, chunk in chunks]).tolist() == VALUES
    assert [start for start, _ in chunks] == [0, *np.cumsum([len(chunk) for _, chunk in chunks])[:-1].tolist()]
    assert list_access.taken(found, [0, 7, 2999]) == [0.5, 7.5, 2999.5]
    assert list_access.is_compact({"a": found}) is (way != "exact")


def test_labels_that_do_not_count_the_rows_are_not_told() -> None:
    """The order of such rows is pandas' business."""
    with pytest.raises(MustReadWhole):
        list_access.chunks(read({str(2 * row): value for row, value in enumerate(VALUES)}, "array"))


def test_a_record_without_a_name_has_nothing_there() -> None:
    """And so not all names are everywhere."""
    records = [{"a": 1}, {"b": 2}]
    assert list_access.members(records, "a") == [1, ABSENT]
    assert list_access.have_all(records[:1], {"a": None})
    assert not list_access.have_all(records, {"a": None})
    assert list_access.have_all([{}], {})


def test_a_name_is_there_from_the_first_record_that_has_it() -> None:
    """Names stay in the order in which they came, whichever chunk of the records has them."""
    names = {"b": 0}
    list_access.add_names(names, 7, [{"b": 1}, {"b": 1}])
    assert names == {"b": 0}
    list_access.add_names(names, 9, [{"b": 1}, {"c": 1, "b": 1, "a": 1}, {"a": 1, "d": 1}])
    assert list(names.items()) == [("b", 0), ("c", 10), ("a", 10), ("d", 11)]


@pytest.mark.parametrize("way", ["exact", "array", "chunks"])
@pytest.mark.parametrize("values", [VALUES, LABELLED], ids=["list", "labelled"])
def test_a_stand_in_has_as_many_items(values: Any, way: str) -> None:
    """With the same labels, and all of the same type."""
    found = list_access.stand_in_of({"a": read(values, way), "b": 7})["a"]
    assert type(found) is type(values)
    assert len(found) == len(values)
    if type(found) is dict:
        assert found.keys() == values.keys()


def test_a_stand_in_has_the_first_item_of_each_sort() -> None:
    """Lists are told apart by their lengths, objects by their names, and other values by their types."""
    sorts = [[1.5], {"a": 1}, "x", None, [2.5, 1.5], {"b": 1}, 7, True]
    others = [[7.5], {"a": 3}, "y", None, [4.5, 5.5], {"b": [1]}, 8, False]
    content = RawBody(json.dumps({"inputs": [*sorts, *others * 500]}).encode()).chunked(64).content
    assert list_access.is_compact(content)
    assert list_access.stand_in_of(content) == sorts * 501
    assert list_access.irregular(sorts + others).stand_in == sorts


@pytest.mark.parametrize(("index", "stays"), [([0, 1], False), ([[0], [1]], True), ("x", True), (None, True)], ids=repr)
def test_only_labels_that_are_a_column_are_left_out_of_a_stand_in(index: Any, *, stays: bool) -> None:
    """All others may be what the request is refused for."""
    content = {"data": [[1.5], {"a": 1}], "index": index}
    stand_in = list_access.irregular([[1.5], {"a": 1}]).in_place_of(DecodedRequest(Format.SPLIT, content, wrapped=True))
    assert ("index" in stand_in.content) is stays
    assert stand_in.content["data"] == content["data"]


def test_records_of_numbers_stand_for_their_names() -> None:
    """Which is all that matters about them."""
    content = RawBody(json.dumps({"inputs": [{"a": row, "b": 1.5} for row in range(1000)]}).encode()).decode().content
    assert list_access.is_compact(content)
    assert list_access.stand_in_of(content) == [{"a": 0.0, "b": 0.0}] * 1000
