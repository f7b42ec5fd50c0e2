"""Hypothesis strategies: column signatures, and requests that fit them, nearly fit them or do not fit at all."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import assume
from hypothesis import strategies as st
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from signet_contract.policy import Policy

NAMES = ["a", "b", "data", "inputs", "petal length (cm)", "0", "", "é"]
TYPES = ["double", "float", "long", "integer", "boolean", "string", "datetime", "binary"]
# Types whose columns a PyTorch model can take; the rest is mostly of interest for its rejections.
NUMBERS = ["double", "float", "long", "integer", "boolean"]

_integers = st.one_of(
    st.integers(-9, 9),
    st.sampled_from(
        [0, 1, 2**24 + 1, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30, -(2**63) - 1]
    ),
)
_floats = st.one_of(
    st.floats(-9, 9, allow_nan=False, width=32),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([-0.0, 1.0, 2.0, 1e39, 1e308, 5e-324, 2.0**53]),
)
_texts = st.sampled_from(["", "a", "3.5", "nan", "1e39", "-1e400", "true", "2020-01-02", "MS41", "日本", "\x00"])
_texts_of_numbers = st.one_of(
    st.decimals(-(10**6), 10**6, places=3).map(str),
    st.integers().map(str),
    st.floats(allow_nan=False).map(str),
    st.sampled_from(
        ["7", "-0", "007", "1.", ".5", "+1", " 7", "7\n", "1_0", "٣", "0x1", "1e5", "-0.1", "9" * 15, "9" * 40]
    ),
)
_dates = st.sampled_from(
    ["2020-01-02", "2020-01-02T03:04:05", "2020-01-02T03:04:05.123456Z", "2020-01-02T03:04:05+02:00"]
)
_bytes = st.sampled_from(["", "MS41", "aGVsbG8=", "aGVsbG8=\n"])
_VALUES = {
    "double": st.one_of(_floats, _floats, _floats, st.integers(0, 1)),
    "float": st.one_of(_floats, _integers),
    "long": _integers,
    "integer": st.one_of(st.integers(-9, 9), st.integers(-(2**31), 2**31 - 1), st.sampled_from([2.0, -3.0])),
    "boolean": st.booleans(),
    "string": st.one_of(_texts, _texts_of_numbers, _texts_of_numbers, _texts_of_numbers),
    "datetime": _dates,
    "binary": _bytes,
}
anything = st.one_of(
    st.none(),
    st.booleans(),
    _integers,
    _floats,
    st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    _texts,
    _dates,
    st.lists(_integers, max_size=2),
    st.dictionaries(_texts, _integers, max_size=2),
)


@st.composite
def column_schemas(draw: st.DrawFn, types: list[str] = TYPES, *, optional: bool = True) -> Schema:
    """Signatures of one to four columns, seldom without names."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    kind = draw(st.sampled_from([None, *types]))
    if draw(st.integers(0, 6)) == 0:
        return Schema([ColSpec(kind or draw(st.sampled_from(types))) for _ in names])
    return Schema(
        [
            ColSpec(kind or draw(st.sampled_from(types)), name, required=not optional or draw(st.integers(0, 3)) > 0)
            for name in names
        ]
    )


@st.composite
def _column(draw: st.DrawFn, type_: str, rows: int) -> list[Any]:
    values = draw(st.lists(_VALUES[type_], min_size=rows, max_size=rows))
    if rows and draw(st.integers(0, 7)) == 0:
        for _ in range(draw(st.integers(1, 2))):
            values[draw(st.integers(0, rows - 1))] = draw(anything)
    return values


@st.composite
def tables(draw: st.DrawFn, schema: Schema) -> dict[Any, list[Any]]:
    """Columns by name, or by number if they have none, that are mostly what the schema asks for, in any order."""
    rows = draw(st.sampled_from([1, 1, 2, 3, 4, 0]))
    is_named = schema.has_input_names()
    specs = {spec.name if is_named else index: spec for index, spec in enumerate(schema.inputs)}
    columns = {name: draw(_column(spec.type.name, rows)) for name, spec in specs.items()}
    if draw(st.integers(0, 9)) == 0:
        columns.pop(draw(st.sampled_from(list(columns))))
    draw(_without_some(schema, columns))
    if draw(st.integers(0, 9)) == 0:
        name = draw(st.sampled_from([*NAMES, "extra"])) if is_named else len(columns)
        columns[name] = draw(st.lists(anything, min_size=rows, max_size=rows))
    order = draw(st.permutations(list(columns))) if is_named else list(columns)
    return {name: columns[name] for name in order}


@st.composite
def _without_some(draw: st.DrawFn, schema: Schema, columns: dict[Any, list[Any]]) -> None:
    """Take away some of the optional columns, and some of the values of others."""
    for name in schema.optional_input_names():
        what = draw(st.sampled_from(["column", "values", None, None]))
        if what == "column":
            columns.pop(name, None)
        elif what == "values" and columns.get(name):
            rows = st.integers(0, len(columns[name]) - 1)
            for row in draw(st.one_of(st.lists(rows, min_size=1, max_size=2), st.just(range(len(columns[name]))))):
                columns[name][row] = None


_PLAIN = {
    "double": st.one_of(st.floats(-9, 9), st.decimals(-9, 9, places=1).map(float)),
    "float": st.one_of(st.floats(-9, 9), st.integers(-9, 9)),
    "long": st.integers(-9, 9),
    "integer": st.integers(-9, 9),
    "boolean": st.booleans(),
}


@st.composite
def large_tables(draw: st.DrawFn, schema: Schema) -> dict[Any, list[Any]]:
    """Columns so long that they are read into arrays, in chunks too, of the schema's types but for a value or two."""
    rows = draw(st.integers(1, 3))
    times = draw(st.sampled_from([400, 400, 400, 400, 400, 3000]))
    names = schema.input_names() if schema.has_input_names() else list(range(len(schema.inputs)))
    columns = {}
    for name, spec in draw(st.permutations(list(zip(names, schema.inputs, strict=True)))):
        values = [draw(_PLAIN[spec.type.name]) for _ in range(rows)]
        columns[name] = values * (times // rows)
    if not schema.has_input_names():
        columns = dict(sorted(columns.items()))
    draw(_without_some(schema, columns))
    if columns and draw(st.integers(0, 3)) == 0:
        odd = st.one_of(st.integers(-9, 9), _floats, anything)
        values = columns[draw(st.sampled_from(list(columns)))]
        values[draw(st.integers(0, len(values) - 1))] = draw(odd)
    return columns


@st.composite
def _rows_without_names(draw: st.DrawFn, rows: list[list[Any]], width: int) -> tuple[Any, pd.DataFrame]:
    """A document for a signature without names: the rows alone, or with names after all, which may be mere numbers."""
    match draw(st.sampled_from(["split", "inputs", "instances", "names", "records"])):
        case "split":
            return {"dataframe_split": {"data": rows}}, pd.DataFrame(rows)
        case "inputs" | "instances" as key:
            return {key: rows}, pd.DataFrame(rows)
        case key:
            given = draw(st.sampled_from([list(range(width)), list(map(str, range(width))), NAMES[-width:]]))
            frame = pd.DataFrame(rows, columns=draw(st.one_of(st.just(given), st.permutations(given))))
            if key == "names" or not rows:
                return {"dataframe_split": {"columns": list(frame.columns), "data": rows}}, frame
            frame.columns = frame.columns.map(str)
            return {"dataframe_records": [dict(zip(frame.columns, row, strict=True)) for row in rows]}, frame


@st.composite
def requests(  # noqa: C901, PLR0911 -- one for each format
    draw: st.DrawFn, schema: Schema, *, large: bool = False
) -> tuple[bytes, pd.DataFrame]:
    """A body in one of the formats, and the table that it stands for with the values as JSON typed them.

    With `large` it has hundreds or thousands of rows.
    """
    columns = draw(large_tables(schema) if large else tables(schema))
    names, rows = list(columns), [list(row) for row in zip(*columns.values(), strict=True)]
    style = draw(st.sampled_from([{}, {"separators": (",", ":")}, {"separators": (",", ":"), "ensure_ascii": False}]))

    def body(document: Any) -> bytes:
        return json.dumps(document, **style).encode()

    if not schema.has_input_names():
        document, frame = draw(_rows_without_names(rows, len(columns)))
        return body(document), frame
    records = [dict(zip(names, row, strict=True)) for row in rows]
    match draw(
        st.sampled_from(["split", "index", "records", "bare records", "instances", "inputs", "bare", "seed", "one"])
    ):
        case "split":
            return body({"dataframe_split": {"columns": names, "data": rows}}), pd.DataFrame(rows, columns=names)
        case "index" if len(rows) < 10:
            index = draw(st.lists(st.sampled_from([0, 1, 7, "x"]), min_size=len(rows), max_size=len(rows)))
            document = {"dataframe_split": {"columns": names, "data": rows, "index": index}}
            return body(document), pd.DataFrame(rows, columns=names, index=index)
        case "records" if records:
            if draw(st.integers(0, 5)) == 0:
                records[-1].pop(draw(st.sampled_from(names)), None)
            return body({"dataframe_records": records}), pd.DataFrame(records)
        case "bare records" if records:
            return body(records), pd.DataFrame(records)
        case "instances" if records:
            return body({"instances": records}), pd.DataFrame(records)
        case "seed" if names:
            labelled = {name: {str(row): value for row, value in enumerate(values)} for name, values in columns.items()}
            return body({"data": [json.dumps(labelled, **style)]}), pd.DataFrame(labelled)
        case "one" if len(rows) == 1 and not any(isinstance(value, (list, dict)) for value in rows[0]):
            return body({"inputs": records[0]}), pd.DataFrame(records)
        case _:
            return body({"inputs": columns}), pd.DataFrame(columns)


allowances = st.sets(st.sampled_from(sorted(Policy)), max_size=len(Policy)).map(frozenset)

DTYPES = ["float32", "float64", "int64", "int32", "int8", "uint8", "uint64", "bool", "float16"]


@st.composite
def tensor_specs(draw: st.DrawFn) -> TensorSpec:
    """Unnamed tensors of zero to three dimensions, some of them free."""
    shape = draw(st.lists(st.sampled_from([-1, -1, 1, 2, 3]), max_size=3))
    return TensorSpec(np.dtype(draw(st.sampled_from(DTYPES))), (-1, *shape))


@st.composite
def nested_lists(draw: st.DrawFn, spec: TensorSpec) -> Any:
    """Nested lists that mostly fit the spec."""
    shape = [size if size != -1 else draw(st.integers(1, 3)) for size in spec.shape]
    if draw(st.integers(0, 7)) == 0:
        shape[draw(st.integers(0, len(shape) - 1))] = draw(st.integers(0, 4))
    if draw(st.integers(0, 9)) == 0:
        shape.append(1)
    leaves = {
        "f": st.one_of(_floats, st.integers(-9, 9)),
        "i": st.one_of(
            st.integers(-9, 9), st.sampled_from([2.0, 1.5, 127, 128, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64])
        ),
        "u": st.one_of(st.integers(0, 9), st.sampled_from([-1, 2.0, 255, 256, 2**53 + 1, 2**63, 2**64 - 1, 2**64])),
        "b": st.booleans(),
    }[spec.type.kind]
    if draw(st.integers(0, 9)) == 0:
        leaves = st.one_of(leaves, anything)
    return draw(_nested(leaves, shape))


def _nested(leaves: st.SearchStrategy[Any], shape: list[int]) -> st.SearchStrategy[Any]:
    if not shape:
        return leaves
    return st.lists(_nested(leaves, shape[1:]), min_size=shape[0], max_size=shape[0])


_cells = st.one_of(
    st.floats(-99, 99).map(repr),
    st.decimals(-99, 99, places=2).map(str),
    st.integers(-99, 99).map(str),
    st.from_regex(r"-?[1-9][0-9]{0,17}\.[0-9]{1,25}(e-?[0-9]{1,2})?", fullmatch=True),
)
_odd_cells = st.sampled_from(
    ["", "-0", " 1.5", "1.", "+1.5", "01.5", "nan", "inf", "true", "True", "1e5", '"1.5"', "]"]
)


@st.composite
def csv(draw: st.DrawFn, schema: Schema) -> bytes:
    """CSV that mostly fits the schema."""
    specs = draw(st.permutations(list(schema.inputs)))
    names = [str(spec.name) for spec in specs]
    if draw(st.integers(0, 9)) == 0:
        names[0] = draw(st.sampled_from([*NAMES, "extra"]))
    cells = {"long": st.integers(-99, 99).map(str), "integer": st.integers(-99, 99).map(str)}
    columns = [cells.get(spec.type.name, _cells) for spec in specs]
    rows = [list(draw(st.tuples(*columns))) for _ in range(draw(st.integers(1, 4)))]
    if draw(st.integers(0, 3)) == 0:
        row = draw(st.sampled_from(rows))
        row[draw(st.integers(0, len(row) - 1))] = draw(_odd_cells)
    end = draw(st.sampled_from(["\n", "\r\n"]))
    lines = [",".join(line) for line in [names, *rows]]
    text = end.join(lines) + draw(st.sampled_from(["", end]))
    assume(text.strip())  # a body of blanks is empty, whatever it is to be read as
    return text.encode()


_PARAM_DEFAULTS = {"double": 0.5, "float": 1, "long": 7, "integer": -3, "boolean": True, "string": "x"}
_param_names = st.sampled_from(["t", "k", "names"])


@st.composite
def param_schemas(draw: st.DrawFn) -> ParamSchema:
    """One to three params, some of them lists."""
    names = draw(st.lists(_param_names, min_size=1, max_size=3, unique=True))
    return ParamSchema([draw(_param_spec(name)) for name in names])


@st.composite
def _param_spec(draw: st.DrawFn, name: str) -> ParamSpec:
    type_ = draw(st.sampled_from(sorted(_PARAM_DEFAULTS)))
    default: Any = draw(st.sampled_from([_PARAM_DEFAULTS[type_], None]))
    if draw(st.booleans()):
        return ParamSpec(name, type_, [default, default][: draw(st.integers(0, 2))], (-1,))
    return ParamSpec(name, type_, default)


@st.composite
def sent_params(draw: st.DrawFn, schema: ParamSchema) -> dict[str, Any]:
    """A member `params` that mostly fits the schema, or none."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.sampled_from([{}, {"params": None}, {"params": {}}, {"params": []}, {"params": "t"}]))
    sent: dict[str, Any] = {}
    for spec in draw(st.permutations(schema.params)):
        fitting = _VALUES[spec.dtype.name]
        values = st.one_of(fitting, anything) if draw(st.integers(0, 5)) == 0 else fitting
        if draw(st.booleans()):
            sent[spec.name] = draw(st.lists(values, max_size=3) if spec.shape else values)
    if draw(st.integers(0, 4)) == 0:
        sent[draw(st.sampled_from(["t", "k", "other"]))] = draw(anything)
    return {"params": sent}
