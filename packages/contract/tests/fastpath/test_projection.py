from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from fast_and_slow import signature
from hypothesis import given
from hypothesis import strategies as st
from signet_contract import request
from signet_contract.bulk.numbers import Numbers
from signet_contract.fastpath.projection import Named, Placed, Projection, TextsAsNumbers, Unnamed

NAMES = ["a", "b", "0", "é"]
FORMATS = ["dataframe_split", "dataframe_records", "instances", "inputs", "records", "bare", "seed", "csv"]


def decoded(key: str, names: list[str], rows: list[list[float]]) -> request.DecodedRequest:
    """A request of these rows, whose values stand in the order of these names, in a format."""
    records = [dict(zip(names, row, strict=True)) for row in rows]
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    documents: dict[str, Any] = {
        "dataframe_split": {"dataframe_split": {"columns": names, "data": rows}},
        "dataframe_records": {"dataframe_records": records},
        "instances": {"instances": records},
        "inputs": {"inputs": columns},
        "records": records,
        "bare": columns,
        "seed": {"data": [json.dumps({name: dict(enumerate(values)) for name, values in columns.items()})]},
    }
    csv = "\n".join(",".join(map(str, line)) for line in [names, *rows])
    body, media = (csv, "text/csv") if key == "csv" else (json.dumps(documents[key]), "")
    return request.decode(body.encode(), media)


def found(projection: Projection, decoded: request.DecodedRequest) -> list[list[float]] | None:
    """The rows that a projection finds, by way of its columns."""
    columns = projection.columns(decoded)
    if isinstance(columns, Placed):
        return np.concatenate(columns.rows.blocks)[:, columns.places].tolist()
    if columns is None:
        return None
    lists = [np.concatenate(each.blocks)[:, 0].tolist() if isinstance(each, Numbers) else each for each in columns]
    return [list(row) for row in zip(*lists, strict=True)]


@given(
    sent=st.permutations(NAMES),
    values=st.lists(st.lists(st.decimals(-9, 9, places=2).map(float), min_size=4, max_size=4), min_size=1, max_size=3),
    times=st.sampled_from([1, 1, 300]),
    key=st.sampled_from(FORMATS),
)
def test_values_stand_as_the_signature_orders_them(
    sent: list[str], values: list[list[float]], times: int, key: str
) -> None:
    """Whatever order the columns come in, in every format, few rows or many: those of each row stay together."""
    rows = values * times
    asked, projection = decoded(key, sent, rows), Named(NAMES)
    expected = [[row[sent.index(name)] for name in NAMES] for row in rows]
    assert found(projection, asked) == expected
    assert list(projection.names(asked)) == sent
    only = projection.only_row(asked)
    assert only is None or [list(only)] == expected
    if len(rows) == 1 and sent == NAMES:
        assert only is not None or key == "csv"


def test_records_in_several_orders_are_undecided() -> None:
    """Columns are cut of them by place."""
    asked = request.decode(b'[{"a": 1.5, "b": 2.5}, {"b": 3.5, "a": 4.5}]')
    assert Named(["a", "b"]).columns(asked) is None


@given(
    key=st.sampled_from(FORMATS), rows=st.sampled_from([1, 2, 300]), change=st.sampled_from(["less", "more", "other"])
)
def test_other_columns_are_undecided(key: str, rows: int, change: str) -> None:
    """A column too few, too many or by another name is left to enforcement, and so are names without a signature's."""
    names = {"less": NAMES[1:], "more": [*NAMES, "x"], "other": [*NAMES[1:], "x"]}[change]
    asked = decoded(key, names, [[1.5] * len(names)] * rows)
    assert Named(NAMES).columns(asked) is None
    assert Named(NAMES).only_row(asked) is None
    assert Unnamed(len(names)).columns(asked) is None
    assert Unnamed(len(names)).only_row(asked) is None


@pytest.mark.parametrize("rows", [1, 2, 300])
@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("form", [{"inputs": "rows"}, {"instances": "rows"}, {"dataframe_split": {"data": "rows"}}])
def test_columns_without_names_stand_as_they_come(form: Any, width: int, rows: int) -> None:
    """If they are as many as the signature has."""
    lists = [[row + 0.5, -row] for row in range(rows)]
    asked = request.decode(json.dumps(form).replace('"rows"', json.dumps(lists)).encode())
    assert found(Unnamed(width), asked) == (lists if width == 2 else None)
    assert Unnamed(width).only_row(asked) == (lists[0] if width == 2 and rows == 1 else None)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("key", ["dataframe_split", "dataframe_records", "inputs", "seed"])
@pytest.mark.parametrize(
    ("text", "read"),
    [("1.5", 1.5), ("-007", -7), ("0", 0), ("1e5", ""), ("", ""), (" 1", ""), ("1" * 16, ""), (1.5, "")],
)
def test_texts_are_read_where_they_are_plainly_numbers(text: Any, read: Any, key: str, rows: int) -> None:
    """Only in the columns of texts, and what is no such number is an empty text, which no column of numbers takes."""
    projection, asked = TextsAsNumbers(Named(["a", "b"]), [1]), decoded(key, ["b", "a"], [[text, "2.5"]] * rows)
    assert found(projection, asked) == [["2.5", read]] * rows
    is_one = rows == 1 and key != "dataframe_split"  # whose order is another
    assert projection.only_row(asked) == (["2.5", read] if is_one else None)


@pytest.mark.parametrize("rows", range(90, 130, 5))
@pytest.mark.parametrize("is_labelled", [True, False])
def test_columns_may_be_of_different_lengths_in_the_text(rows: int, *, is_labelled: bool) -> None:
    """Some columns may be read into arrays and others be too short for it."""
    columns: Any = {"a": [-1.0625] * rows, "b": [1, 2, 3, 4, 5] * (rows // 5), "c": [True] * rows, "d": [0.5] * rows}
    if is_labelled:
        columns = {name: {str(row): value for row, value in enumerate(column)} for name, column in columns.items()}
    contract = signature(("double", "a"), ("long", "b"), ("boolean", "c"), ("float", "d"))
    model_input = contract.fast_path(request.decode(json.dumps(columns).encode()))
    assert model_input is not None
    np.testing.assert_array_equal(model_input.inputs[0], np.array([-1.0625, 1, 1, 0.5], np.float32))
    columns["b"] = dict(reversed(columns["b"].items())) if is_labelled else columns["b"][1:]
    assert contract.fast_path(request.decode(json.dumps(columns).encode())) is None
