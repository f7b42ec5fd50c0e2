"""Long requests, drawn: of few kinds of values, any of which may be wrong, in every format."""

from __future__ import annotations

from typing import Any

import requests_drawn as drawn
from hypothesis import strategies as st
from mlflow.types import Schema
from signet_contract.decoded_request import DecodedRequest, Format

ROWS = st.sampled_from([1, 30, 100, 300])
TEXTS = ["", "a", "3.5", "1_0", " 7 ", "nan", "inf", "1e400", "0x1", "2020-01-02", "2020-01-02T03:04:05+02:00", "MS41"]


@st.composite
def _columns(draw: st.DrawFn, schema: Schema) -> dict[Any, list[Any]]:
    """Columns with many values of few kinds: right ones, and wrong ones of any kind at any place."""
    rows = draw(ROWS)
    names = schema.input_names() if schema.has_input_names() else range(len(schema.inputs))
    columns = {}
    for name, spec in zip(names, schema.inputs, strict=True):
        usual = drawn._VALUES[spec.type.name]
        some = draw(st.lists(usual, min_size=1, max_size=3))
        values = [some[row % len(some)] for row in range(rows)]
        odd = st.one_of(drawn.anything, st.sampled_from(TEXTS), usual)
        for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
            start, step, value = draw(st.integers(0, rows - 1)), draw(st.sampled_from([1, 2, 7, 300])), draw(odd)
            values[start::step] = [value] * len(values[start::step])
        columns[name] = values
    return columns


@st.composite
def payloads(draw: st.DrawFn, schema: Schema) -> DecodedRequest:
    """The same in every format, perhaps with columns or rows that are not everywhere."""
    columns = draw(_columns(schema))
    names = list(columns)
    if schema.has_input_names() and draw(st.integers(0, 4)) == 0:
        columns["extra"] = [draw(drawn.anything)] * len(columns[names[0]])
        names.append("extra")
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    absent = draw(st.sampled_from([0, 0, 7, 2]))  # every so many rows, in the first column
    if not schema.has_input_names():
        formats = [(Format.INPUTS, rows), (Format.SPLIT, {"data": rows})]
        return DecodedRequest(*draw(st.sampled_from(formats)))
    records = [dict(zip(names, row, strict=True)) for row in rows]
    labelled = {name: {f"r{row}": value for row, value in enumerate(values)} for name, values in columns.items()}
    if absent and len(names) > 1:
        records = [
            {name: record[name] for name in names[1:]} if row % absent else record for row, record in enumerate(records)
        ]
        labelled[names[0]] = dict(list(labelled[names[0]].items())[::absent])
    scalar = columns | {names[-1]: columns[names[-1]][0]}
    uneven = columns.copy()
    if draw(st.integers(0, 4)) == 0:  # what only one record has, or only one column lacks
        records[draw(st.integers(0, len(rows) - 1))]["late"] = 1.5
        uneven |= {names[-1]: columns[names[-1]][draw(st.integers(1, len(rows))) :]}
    formats = [
        (Format.RECORDS, records),
        (Format.INSTANCES, records),
        (Format.SPLIT, {"columns": names, "data": rows}),
        (Format.SPLIT, {"columns": names, "data": rows, "index": list(range(len(rows)))[::-1]}),
        (Format.INPUTS, uneven),
        (Format.COLUMNS, labelled),
        (Format.COLUMNS, {name: dict(zip(map(str, range(len(rows))), v, strict=True)) for name, v in columns.items()}),
        (Format.COLUMNS, scalar),
        (Format.INPUTS, rows),
    ]
    return DecodedRequest(*draw(st.sampled_from(formats)))
