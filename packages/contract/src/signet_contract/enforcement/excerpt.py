"""The part of a large table that decides what is said of the whole.

What MLflow says of a column depends on the kinds of its values (`kinds`), not on how many there are of each. So an
excerpt with the first rows of each kind is refused as the whole would be, and has the first of the violations that the
whole has; how many more there are is counted by kind. No data frame is made of what is refused, and none before its
size is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from operator import itemgetter
from typing import Any

import pandas as pd
from mlflow.types import DataType, Schema

from signet_contract import unchecked_names
from signet_contract.enforcement import column_names, kinds
from signet_contract.errors import MAX_VIOLATIONS, MalformedPayload, SignatureMismatch, Violation
from signet_contract.request import DecodedRequest, Format

MAX_CELLS = 1 << 24
"""Most values of a table; the largest body with a value for each has a fifth of that."""

# With so few and twenty rows, to look for what decides costs as much as to decide.
_FEW_COLUMNS = 100


@dataclass(frozen=True, slots=True)
class _Table:
    """A request of a regular form, as pandas would read it."""

    names: Sequence[Any]
    rows: int
    column: Callable[[int], Sequence[Any]]
    """The values of a column by its place among the names, `kinds.ABSENT` where a row has none."""
    cut: Callable[[Sequence[int], Sequence[int]], Any]
    """The content with these rows and columns only, by their places."""


class Excerpt:
    """A request cut to what decides.

    Args:
        schema: a column signature.
        decoded: what came.
        policy: words of `policy` that hold.

    Raises:
        MalformedPayload: it would become a table beyond all measure.
        SignatureMismatch: it has columns more than once, too few, or names that the schema can't check.
    """

    def __init__(self, schema: Schema, decoded: DecodedRequest, policy: frozenset[str]) -> None:
        self.decoded = decoded
        """What decides, unless it is admitted."""
        self.whole: Callable[[], DecodedRequest] = lambda: decoded
        """All rows, but of the extra columns no more than twenty."""
        self._rows: Sequence[int] | None = None
        self._kinds: dict[Any, tuple[dict[int, int], list[int]]] = {}
        self._extra: list[Any] = []
        table = _table(schema, decoded) if all(isinstance(type_, DataType) for type_ in schema.input_types()) else None
        few = min(_FEW_COLUMNS, len(schema.inputs) + MAX_VIOLATIONS)  # beyond which extra ones are only counted
        if table is None or (table.rows <= MAX_VIOLATIONS and len(table.names) <= few):
            return
        if not schema.has_input_names():
            unchecked_names.refuse(table.names, policy)
        kept = self._kept(schema, table)
        if table.rows * len(kept) > MAX_CELLS:
            raise _too_large(decoded, table.rows, len(kept), MAX_CELLS)
        if len(kept) < len(table.names):
            self.whole = lambda: replace(decoded, content=table.cut(range(table.rows), kept))
        rows = self._chosen(schema, table)
        if 2 * len(rows) < table.rows:
            self._rows = rows
            self.decoded = replace(decoded, content=table.cut(rows, kept))
        elif len(kept) < len(table.names):
            self.decoded = self.whole()

    @property
    def is_shorter(self) -> bool:
        """Whether the whole has more rows."""
        return self._rows is not None

    def of_the_whole(self, rejection: SignatureMismatch) -> SignatureMismatch:
        """What the whole request is refused with, given what its excerpt is refused with."""
        violations, total, counted = list[Violation](), rejection.more, set()
        for violation in rejection.violations:
            row = violation.row if self._rows is None or violation.row is None else self._rows[violation.row]
            violations.append(replace(violation, row=row))
            kind_of, counts = self._kinds.get(violation.column, ({}, []))
            if row is None or not counts:
                total += 1
            elif row in kind_of and (key := (violation.rule, violation.column, kind_of[row])) not in counted:
                counted.add(key)
                total += counts[kind_of[row]]
        if any(violation.rule == "columns" for violation in violations):
            total += len(self._extra[MAX_VIOLATIONS:])
        listed = violations[:MAX_VIOLATIONS]
        return SignatureMismatch(self._message(rejection, violations), listed, total - len(listed))

    def _message(self, rejection: SignatureMismatch, violations: Sequence[Violation]) -> str:
        first, moved = rejection.violations[0], violations[0]
        if self._extra and rejection.message == column_names.extra_message(self._extra[:MAX_VIOLATIONS]):
            return column_names.extra_message(self._extra)
        before, found, after = rejection.message.rpartition(f" in row {first.row}")
        return f"{before} in row {moved.row}{after}" if found else rejection.message

    def _kept(self, schema: Schema, table: _Table) -> list[int]:
        """Places of the signature's columns and of the first others."""
        column_names.require(schema, pd.Index(table.names))
        if not schema.has_input_names():
            self._extra = list(table.names[len(schema.inputs) :])
            return list(range(min(len(table.names), len(schema.inputs) + MAX_VIOLATIONS)))
        known = set(schema.input_names())
        extra = [place for place, name in enumerate(table.names) if name not in known]
        self._extra = [table.names[place] for place in extra]
        dropped = set(extra[MAX_VIOLATIONS:])
        return [place for place in range(len(table.names)) if place not in dropped]

    def _chosen(self, schema: Schema, table: _Table) -> list[int]:
        """The first rows, and the first of each kind in each column."""
        chosen = set(range(min(table.rows, MAX_VIOLATIONS)))
        typed: list[tuple[int, Any]]
        if schema.has_input_names():
            places = {name: place for place, name in enumerate(table.names)}
            typed = [(places[name], type_) for name, type_ in schema.input_types_dict().items() if name in places]
        else:
            typed = list(enumerate(schema.input_types()[: len(table.names)]))
        for place, type_ in typed:
            kind_of: dict[int, int] = {}
            counts: list[int] = []
            for rows in kinds.of_column(table.column(place), type_):
                first = rows[:MAX_VIOLATIONS].tolist()
                kind_of |= dict.fromkeys(first, len(counts))
                counts.append(len(rows))
                chosen.update(first)
            self._kinds[table.names[place]] = (kind_of, counts)
        return sorted(chosen)


def require_full(schema: Schema, decoded: DecodedRequest) -> None:
    """Refuse a table most of which would be missing values, before it is made.

    Raises:
        MalformedPayload: it has more of them than its body has bytes.
    """
    table = _table(schema, decoded)
    if table and decoded.source and table.rows * len(table.names) > len(decoded.source.text):
        raise _too_large(decoded, table.rows, len(table.names), len(decoded.source.text))


def _too_large(decoded: DecodedRequest, rows: int, columns: int, limit: int) -> MalformedPayload:
    size = f"{rows} rows and {columns} columns"
    return MalformedPayload(
        f"The {decoded.format.value} would become a table of {size}: more than {limit} values.",
        expected=f"at most {limit} values",
        got=size,
    )


def _table(schema: Schema, decoded: DecodedRequest) -> _Table | None:
    content = decoded.content
    if decoded.format is Format.SPLIT:
        return _of_split(content)
    if isinstance(content, pd.DataFrame):
        return _of_frame(content)
    if isinstance(content, list):
        return _of_rows(schema, content, may_be_column=decoded.format is not Format.RECORDS)
    return _of_columns(content) if isinstance(content, dict) and decoded.format is not Format.RECORDS else None


def _of_frame(frame: pd.DataFrame) -> _Table:
    return _Table(
        list(frame.columns),
        len(frame),
        lambda place: frame.iloc[:, place].tolist(),
        lambda rows, places: frame.iloc[list(rows), list(places)].reset_index(drop=True),
    )


def _of_split(content: Any) -> _Table | None:
    if type(content) is not dict or not {"data"} <= content.keys() <= {"columns", "data", "index"}:
        return None
    table = _of_lists(content["data"])
    if table is None:
        return None
    names, index = content.get("columns"), content.get("index")
    if names is not None and (type(names) is not list or len(names) != len(table.names) or not _are_plain(names)):
        return None
    if index is not None and (type(index) is not list or len(index) != table.rows):
        return None

    def cut(rows: Sequence[int], places: Sequence[int]) -> dict[str, Any]:
        parts = {"data": table.cut(rows, places)}
        if names is not None:
            parts["columns"] = [names[place] for place in places]
        if index is not None:
            parts["index"] = [index[row] for row in rows]
        return parts

    return replace(table, names=names or table.names, cut=cut)


def _are_plain(names: list[Any]) -> bool:
    return set(map(type, names)) in ({str}, {int})


def _of_rows(schema: Schema, rows: list[Any], *, may_be_column: bool) -> _Table | None:
    types = set(map(type, rows))
    if types == {dict}:
        return _of_records(rows)
    is_one_column = may_be_column and len(schema.inputs) == 1 and schema.has_input_names()
    if is_one_column and dict not in types:
        name: Any = schema.input_names()[0]
        return _of_values(name, rows)
    return _of_lists(rows) if types & {list, dict} else _of_values(0, rows)


def _of_values(name: Any, values: list[Any]) -> _Table:
    return _Table([name], len(values), lambda _: values, lambda rows, _: [values[row] for row in rows])


def _of_lists(rows: Any) -> _Table | None:
    if type(rows) is not list or set(map(type, rows)) != {list} or len(set(map(len, rows))) != 1 or not rows[0]:
        return None
    width = len(rows[0])

    def cut(chosen: Sequence[int], places: Sequence[int]) -> list[list[Any]]:
        return [[rows[row][place] for place in places] for row in chosen]

    return _Table(range(width), len(rows), lambda place: list(map(itemgetter(place), rows)), cut)


def _of_records(records: list[dict[str, Any]]) -> _Table:
    names = list(dict.fromkeys(chain.from_iterable(records)))

    def cut(rows: Sequence[int], places: Sequence[int]) -> list[dict[str, Any]]:
        if len(places) == len(names):
            return [records[row] for row in rows]
        kept = [names[place] for place in places]
        return [{name: records[row][name] for name in kept if name in records[row]} for row in rows]

    return _Table(
        names,
        len(records),
        lambda place: [record.get(names[place], kinds.ABSENT) for record in records],
        cut,
    )


def _of_columns(columns: dict[str, Any]) -> _Table | None:
    names = list(columns)
    types = set(map(type, columns.values()))
    if types == {dict}:
        return _of_labelled(columns)
    lengths = {len(values) for values in columns.values() if type(values) is list}
    if dict in types or len(lengths) > 1 or not names:
        return None
    if not lengths:  # values of one row
        return _Table(names, 1, lambda place: [columns[names[place]]], lambda _, places: _some(columns, names, places))
    (length,) = lengths

    def column(place: int) -> Sequence[Any]:
        values = columns[names[place]]
        return values if type(values) is list else [values] * length

    def cut(rows: Sequence[int], places: Sequence[int]) -> dict[str, Any]:
        some = _some(columns, names, places)
        return {name: [v[row] for row in rows] if type(v) is list else v for name, v in some.items()}

    return _Table(names, length, column, cut)


def _some(columns: dict[str, Any], names: list[str], places: Sequence[int]) -> dict[str, Any]:
    return {names[place]: columns[names[place]] for place in places}


def _of_labelled(columns: dict[str, dict[str, Any]]) -> _Table:
    """Columns whose rows have labels; pandas takes these in the order in which they first appear."""
    names = list(columns)
    labels = list(dict.fromkeys(chain.from_iterable(columns.values())))

    def cut(rows: Sequence[int], places: Sequence[int]) -> dict[str, dict[str, Any]]:
        kept = [labels[row] for row in rows]
        some = _some(columns, names, places)
        return {name: {label: v[label] for label in kept if label in v} for name, v in some.items()}

    return _Table(
        names,
        len(labels),
        lambda place: [columns[names[place]].get(label, kinds.ABSENT) for label in labels],
        cut,
    )
