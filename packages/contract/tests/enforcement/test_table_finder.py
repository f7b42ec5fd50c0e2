from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from mlflow.types import Schema
from signet_contract.bulk.chunked_lists import MustReadWhole
from signet_contract.contract import Contract
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.enforcement import columns, list_access, table_finder, value_kinds
from signet_contract.enforcement.list_access import Irregular
from signet_contract.enforcement.regular_tables import RegularTable
from signet_contract.errors import MalformedPayload
from signet_contract.request import RawBody

from testing.oracle import columns_schema, signature_document

NAMED = columns_schema(("double", "a"), ("string", "b", False), ("long", "c", False))
UNNAMED = columns_schema(("double", None), ("double", None), ("double", None))

_values = st.sampled_from([None, 1, -2, 0.5, 1e300, True, "", "1.5", [1], {"x": 2}])


@st.composite
def requests(draw: st.DrawFn) -> tuple[Schema, Any, Format]:
    """Content of any format, of few rows or many, and perhaps without some of the values."""
    rows = draw(st.lists(st.lists(_values, min_size=3, max_size=3), min_size=1, max_size=4))
    rows *= draw(st.sampled_from([1, 40]))
    names = draw(st.permutations(["a", "b", "x"]))
    records: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in rows]
    by_column = {name: [record[name] for record in records] for name in names}
    labelled = {name: {f"r{row}": value for row, value in enumerate(values)} for name, values in by_column.items()}
    counting = {
        name: {str(row): value for row, value in enumerate(values[: draw(st.integers(1, len(rows)))])}
        for name, values in by_column.items()
    }
    if draw(st.booleans()):
        records[-1].pop(names[0])
        labelled[names[0]].pop("r0")
    forms = [
        (UNNAMED, rows, Format.INPUTS),
        (UNNAMED, {"data": rows}, Format.SPLIT),
        (NAMED, {"columns": names, "data": rows}, Format.SPLIT),
        (NAMED, {"columns": names, "data": rows, "index": list(range(len(rows)))[::-1]}, Format.SPLIT),
        (NAMED, {"columns": list(records[0]), "data": records}, Format.SPLIT),
        (NAMED, records, Format.RECORDS),
        (NAMED, records, Format.INSTANCES),
        (NAMED, by_column, Format.INPUTS),
        (NAMED, by_column | {names[0]: 1.5}, Format.COLUMNS),
        (NAMED, labelled, Format.COLUMNS),
        (NAMED, counting, Format.COLUMNS),
        (columns_schema(("double", "a")), [row[0] for row in rows], Format.INPUTS),
    ]
    return draw(st.sampled_from(forms))


def cells(table: RegularTable, places: list[int]) -> list[list[Any]]:
    """What stands in some columns, the chunks put together; each starts where the one before it ended."""
    found: dict[int, list[Any]] = {place: [] for place in places}
    for place, start, values in table.columns(places):
        assert start == len(found[place])
        found[place] += values.tolist() if isinstance(values, np.ndarray) else list(values)
    return [found[place] for place in places]


def texts(columns_: Iterable[list[Any]]) -> list[list[str]]:
    """The values to compare: what is absent and each null are one, and so are 1 and 1.0, as pandas has them."""

    def text(value: Any) -> str:
        is_null = value is value_kinds.ABSENT or value is None or repr(value) == "nan"
        return "null" if is_null else repr(float(value) if type(value) is int else value)

    return [list(map(text, column)) for column in columns_]


@given(request=requests(), data=st.data(), indent=st.sampled_from([None, 1]), is_chunked=st.booleans())
def test_a_table_is_the_one_that_pandas_makes(
    request: tuple[Schema, Any, Format], data: st.DataObject, indent: int | None, *, is_chunked: bool
) -> None:
    """Names, rows and values are those of the data frame, and a cut of it is read as the same rows and columns."""
    schema, content, format_ = request
    decoded = DecodedRequest(format_, content)
    try:
        frame = columns.read(schema, decoded, frozenset({"unchecked_names"})).reset_index(drop=True)
        if is_chunked:
            body = content if format_ is Format.COLUMNS else {format_.value: content}
            decoded = RawBody(json.dumps(body, indent=indent).encode()).chunked(64)
        table = table_finder.table(schema, decoded, {})
        every = list(range(len(table.names) if table else 0))
        values = cells(table, every) if table else []
    except (MalformedPayload, MustReadWhole, Irregular):
        table = None
    if table is None:  # a long list that is not cut, or one of objects among other values
        assert is_chunked or len(schema.inputs) == 1
        return
    event(f"{'chunked' if list_access.is_compact(decoded.content) else 'whole'} table")
    assert list(table.names) == list(frame.columns)
    assert table.rows() == len(frame)
    assert texts(values) == texts(frame.iloc[:, place].tolist() for place in every)
    rows = sorted({0, len(frame) - 1} | data.draw(st.sets(st.integers(0, len(frame) - 1), max_size=5)))
    # Of `COLUMNS` some say which rows others have, see the next test.
    places = every if format_ is Format.COLUMNS else every[data.draw(st.integers(0, len(every) - 1)) :]
    cut = columns.read(schema, replace(decoded, content=table.cut(rows, places)), frozenset({"unchecked_names"}))
    if format_ is Format.SPLIT and "index" in content:
        assert list(cut.index) == [content["index"][row] for row in rows]
    assert texts(map(list, cut.to_dict("list").values())) == texts(frame.iloc[rows, place].tolist() for place in places)


@pytest.mark.parametrize("extra", [0.5, {}])
def test_rows_are_those_of_all_columns(extra: Any) -> None:
    """However many other columns are let through, and whatever is in them."""
    contract = Contract(signature_document(columns_schema(("double", "a", False))), frozenset({"extra_columns"}))
    last = {"y": [0.5] * 2, "a": 1.5} if extra else {"y": {"r0": 1.5, "r1": 1.5}, "a": {"r1": 1.5}}
    body = json.dumps({"inputs": {f"x{index}": extra for index in range(20)} | last}).encode()
    assert contract.check(body).rows == 2


@pytest.mark.parametrize("odd", [[1.5], [1.5, 2.5, 3.5], "x", None, {"a": 1}], ids=repr)
def test_long_rows_of_several_sorts_have_one_of_each(odd: Any) -> None:
    """Which is what the whole list is refused for, in the order they came."""
    rows = [*[[1.5, 2.5]] * 199, odd]
    table = table_finder.table(
        UNNAMED, RawBody(json.dumps({"dataframe_split": {"data": rows}}).encode()).chunked(64), {}
    )
    assert table is not None
    with pytest.raises(Irregular) as caught:
        cells(table, [0, 1])
    assert caught.value.stand_in == [[1.5, 2.5], odd]
