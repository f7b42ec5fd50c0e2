"""Finds the regular form of a request (`regular_tables`), which can be read as a table without a data frame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from mlflow.types import Schema

from signet_contract.bulk import tables
from signet_contract.bulk.chunked_lists import ChunkedList, MustReadWhole
from signet_contract.bulk.numbers import Numbers
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.enforcement import columns, list_access, regular_tables
from signet_contract.enforcement.regular_tables import RegularTable
from signet_contract.enforcement.value_kinds import Kinds


def table(
    schema: Schema, decoded: DecodedRequest, kinds: Mapping[Any, Kinds], most_names: float = math.inf
) -> RegularTable | None:
    """The request as a table; None if it has no regular form.

    Args:
        schema: a column signature.
        decoded: the request.
        kinds: of columns, by name. They are filled as a side effect when the table must be scanned anyway.
        most_names: with more columns the request is certainly rejected.

    Raises:
        MustReadWhole: the request has long lists, and each of their values matters.
        Irregular: it has long lists, and no regular form. Iterating over the table's columns can raise this, too.
    """
    content = decoded.content
    if decoded.format is Format.SPLIT:
        found = _of_split(schema, content, kinds, most_names)
    elif isinstance(content, pd.DataFrame):
        found = regular_tables.of_frame(content)
    elif isinstance(content, tables.Table):
        found = regular_tables.of_read_records(content)
    elif list_access.is_list(content) and not list_access.is_labelled(content):
        found = _of_rows(schema, content, kinds, most_names, may_be_column=decoded.format is not Format.RECORDS)
    else:
        is_table = isinstance(content, dict) and decoded.format is not Format.RECORDS
        found = regular_tables.of_columns(content) if is_table else None
    if found is None and list_access.is_compact(content):
        if decoded.format is Format.SPLIT and type(content) is dict and list_access.is_compact(content.get("columns")):
            raise MustReadWhole
        raise list_access.Irregular(list_access.stand_in_of(content))
    return found


def _of_split(schema: Schema, content: Any, kinds: Mapping[Any, Kinds], most_names: float) -> RegularTable | None:
    if type(content) is not dict:
        return None
    _require_few_labels(schema, content.get("columns"))
    if not {"data"} <= content.keys() <= {"columns", "data", "index"}:
        return None
    rows, names, index = content["data"], content.get("columns"), content.get("index")
    found: RegularTable | None = None
    if isinstance(rows, tables.Table):
        found = regular_tables.of_read_records(rows)
    elif list_access.is_list(rows) and not list_access.is_labelled(rows):
        found = _of_rows(schema, rows, kinds, most_names, may_be_column=False)
    if found is None or not _fit(names, found):
        return None
    if index is not None and (not list_access.is_column(index) or len(index) != found.rows()):
        return None

    def cut(rows: Sequence[int], places: Sequence[int]) -> dict[str, Any]:
        parts = {"data": found.cut(rows, places)}
        if names is not None:
            parts["columns"] = [names[place] for place in places]
        if index is not None:
            parts["index"] = list_access.taken(index, rows)
        return parts

    return replace(found, names=names or found.names, cut=cut)


def _require_few_labels(schema: Schema, names: Any) -> None:
    """Reject more labels than a table may have columns, in compact form, before any is made a Python object."""
    if list_access.is_compact(names) and list_access.is_column(names) and len(names) > columns.max_width(schema):
        raise columns.too_wide(schema, "'columns' of dataframe_split", len(names))


def _fit(names: Any, found: RegularTable) -> bool:
    """Whether `names` fit the table: there is one for each column, and records have the same names."""
    if names is None:
        return True
    are_plain = type(names) is list and set(map(type, names)) in ({str}, {int}) and len(names) == len(found.names)
    return are_plain and (type(found.names) is range or found.names in ([0], names))


def _of_rows(
    schema: Schema, rows: Any, kinds: Mapping[Any, Kinds], most_names: float, *, may_be_column: bool
) -> RegularTable | None:
    types: set[type]
    if isinstance(rows, Numbers):
        types = {list if rows.shape else float}
    else:
        types = {type(rows.first)} if isinstance(rows, ChunkedList) else set(map(type, rows))
    if types == {dict}:
        return regular_tables.of_records(rows, kinds if schema.has_input_names() else {}, most_names)
    is_one_column = may_be_column and len(schema.inputs) == 1 and schema.has_input_names()
    if is_one_column and dict not in types:
        return regular_tables.of_values(schema.input_names()[0], rows, {dict})
    return regular_tables.of_lists(rows) if types & {list, dict} else regular_tables.of_values(0, rows, {dict, list})
