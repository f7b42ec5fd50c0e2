"""The excerpt of a large table: a few rows that decide what is said of all of them.

MLflow treats all values of one kind alike (`value_kinds`). So the values of each column are sorted by kind, and the
excerpt gets the first rows of each kind. If MLflow rejects the excerpt, it would reject the table for the same reason.
The rejection of the excerpt then becomes that of the table: rows get the numbers that they have there, and what is
wrong is counted in all rows. No data frame was made of these. If MLflow admits the excerpt, it decides on the whole
table. A table that is too large is rejected before.

Rows of a long list are looked at until some are wrong, and nothing in the other rows could change that. The list is
then rejected as if it ended there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from mlflow.types import DataType, Schema

from signet_contract import unchecked_names
from signet_contract.bulk.chunked_lists import MustReadWhole
from signet_contract.decoded_request import DecodedRequest
from signet_contract.enforcement import column_names, columns, list_access, table_finder, value_kinds
from signet_contract.enforcement.list_access import Irregular
from signet_contract.enforcement.regular_tables import RegularTable
from signet_contract.enforcement.value_kinds import Kinds
from signet_contract.errors import MAX_VIOLATIONS, MalformedPayload, Rule, SignatureMismatch, Violation
from signet_contract.policy import Policy

MAX_CELLS = 1 << 24
"""Most values of a table: five times as many as stand in the largest body."""

# An excerpt of so few columns, and of twenty rows at most, would cost as much as the decision.
_FEW_COLUMNS = 100


class Excerpt:
    """A request cut to the rows and columns that decide.

    Args:
        schema: a column signature.
        decoded: the request.
        policy: words of `policy` that hold.

    Raises:
        MalformedPayload: the request would become too large a table.
        SignatureMismatch: it has a column twice, lacks one, or has names that the schema can't check.
        MustReadWhole: it has long lists, and has to be read whole.
    """

    def __init__(self, schema: Schema, decoded: DecodedRequest, policy: frozenset[str]) -> None:
        self.decoded = decoded
        """The excerpt. If it is rejected, so is the request; if it is admitted, `whole` decides."""
        self._request = decoded
        self._narrowed: tuple[RegularTable, list[int]] | None = None
        """The table, and the places of the columns that are kept; None if all are."""
        self._rows: Sequence[int] | None = None
        """The rows of the request that the excerpt has; None if it has all."""
        self._kinds: dict[Any, Kinds] = {}
        self._extra: list[Any] = []
        try:
            self._cut(schema, decoded, policy)
        except Irregular as irregular:
            columns.read(schema, irregular.in_place_of(decoded), policy)  # raises if it is no table
            raise MustReadWhole from irregular
        if self._rows is None and list_access.is_compact(decoded.content):
            raise MustReadWhole

    def _cut(self, schema: Schema, decoded: DecodedRequest, policy: frozenset[str]) -> None:
        kinds = _kinds(schema, policy)
        if len(kinds) < len(schema.inputs):  # values of nested types have no kinds: only the whole can decide
            return
        most_names = math.inf if Policy.EXTRA_COLUMNS in policy else len(schema.inputs) + MAX_VIOLATIONS
        table = table_finder.table(schema, decoded, kinds, most_names)
        # Of further extra columns only the number is told.
        few_columns = min(_FEW_COLUMNS, len(schema.inputs) + MAX_VIOLATIONS)
        if table is None or (
            table.knows_its_length and table.rows() <= MAX_VIOLATIONS and len(table.names) <= few_columns
        ):
            return
        if len(table.names) > columns.max_width(schema):
            raise columns.too_wide(schema, decoded.format.value, len(table.names))
        try:
            if not schema.has_input_names():
                unchecked_names.reject(table.names, policy)
            kept = self._kept(schema, table, policy)
        except SignatureMismatch:
            if not table.knows_its_length:  # the names are those of the first row, and others may differ
                table.require_regular()
            raise
        if table.knows_its_length and table.rows() * len(kept) > MAX_CELLS:
            raise _too_large(decoded, table.rows(), len(kept), MAX_CELLS)
        if len(kept) < len(table.names):
            self._narrowed = table, kept
        keys = table.names if schema.has_input_names() else range(len(table.names))
        of_places = {place: kinds[key] for place, key in enumerate(keys) if key in kinds}
        by_place, looked_at = _sorted_by_kind(table, of_places)
        self._kinds = {table.names[place]: column for place, column in by_place.items()}
        rows = _deciding_rows(table, by_place.values(), kept, looked_at)
        if 2 * len(rows) < looked_at:  # a larger excerpt would save nothing
            self._rows = rows
            self.decoded = replace(decoded, content=table.cut(rows, kept))
        else:
            self.decoded = self.whole()

    def whole(self) -> DecodedRequest:
        """The request with all rows, and at most twenty of the extra columns.

        Raises:
            MustReadWhole: the request has long lists.
        """
        if list_access.is_compact(self._request.content):
            raise MustReadWhole
        if self._narrowed is None:
            return self._request
        table, kept = self._narrowed
        return replace(self._request, content=table.cut(range(table.rows()), kept))

    @property
    def is_shorter(self) -> bool:
        """Whether the excerpt has fewer rows than the request."""
        return self._rows is not None

    def of_the_whole(self, rejection: SignatureMismatch) -> SignatureMismatch:
        """The rejection of the whole request, given that of its excerpt, which lists all violations of its values."""
        # `rejection.more` counts names of columns that are not listed; the violations of values are listed in full.
        violations, total, counted = list[Violation](), rejection.more, set()
        for violation in rejection.violations:
            row = violation.row if self._rows is None or violation.row is None else self._rows[violation.row]
            violations.append(replace(violation, row=row))
            kinds = self._kinds.get(violation.column)
            if row is None or kinds is None:
                total += 1
                continue
            # A kind is counted once, at one of its first rows, which are all in the excerpt; `of` another row is None.
            kind = kinds.of(row)
            key = violation.rule, violation.column, kind
            if kind is not None and key not in counted:
                counted.add(key)
                total += kinds.counts[kind]
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

    def _kept(self, schema: Schema, table: RegularTable, policy: frozenset[str]) -> list[int]:
        """Places of the signature's columns and first 20 extra ones; all columns if the row count depends on them."""
        column_names.require(schema, table.names)
        if not schema.has_input_names():
            self._extra = list(table.names[len(schema.inputs) :])
            return list(range(min(len(table.names), len(schema.inputs) + MAX_VIOLATIONS)))
        known = set(schema.input_names())
        extra = [place for place, name in enumerate(table.names) if name not in known]
        self._extra = [table.names[place] for place in extra]
        if table.rows_depend_on_all and Policy.EXTRA_COLUMNS in policy:
            return list(range(len(table.names)))
        own = [place for place, name in enumerate(table.names) if name in known]
        return sorted(own + extra[:MAX_VIOLATIONS])


def _kinds(schema: Schema, policy: frozenset[str]) -> dict[Any, Kinds]:
    """For each column whose type is not nested, its still empty `Kinds`, by its name or else its place."""
    types = schema.input_types_dict() if schema.has_input_names() else dict(enumerate(schema.input_types()))
    required = set(schema.required_input_names()) if schema.has_input_names() else types.keys()
    return {
        name: Kinds(type_, MAX_VIOLATIONS, frozenset(_unlifted(policy, is_required=name in required)))
        for name, type_ in types.items()
        if isinstance(type_, DataType)
    }


def _unlifted(policy: frozenset[str], *, is_required: bool) -> Iterator[Rule]:
    """The rules in force for the values of a column."""
    if Policy.NULLS not in policy and is_required:
        yield "null"
    if Policy.NON_FINITE not in policy:
        yield "finite"
    if Policy.MIXED_TYPES not in policy:
        yield "type"


def _sorted_by_kind(table: RegularTable, kinds: Mapping[int, Kinds]) -> tuple[dict[int, Kinds], int]:
    """Fills the kinds with their columns' values; returns them, and how many rows were looked at."""
    looked_at = table.rows() if table.is_sorted else _fill(table, kinds)
    mixed = {place: column.with_texts() for place, column in kinds.items() if column.must_read_texts}
    for place, start, values in table.columns(list(mixed)) if mixed else ():
        if start >= looked_at:
            break
        mixed[place].add(start, values)
    return {**kinds, **mixed}, looked_at


def _fill(table: RegularTable, kinds: Mapping[int, Kinds]) -> int:
    """Fills the kinds; returns how many rows were looked at."""
    looked_at = 0
    for place, start, values in table.columns(list(kinds)):
        has_all_before = table.is_by_rows and start == looked_at  # all columns have been looked at up to here
        if has_all_before and value_kinds.are_rejected(kinds.values()):
            return looked_at
        kinds[place].add(start, values)
        looked_at = start + len(values)
    return table.rows()


def _deciding_rows(table: RegularTable, of_columns: Iterable[Kinds], kept: Sequence[int], looked_at: int) -> list[int]:
    """The first rows, the first rows of each kind in each column, and the first row that has each kept column."""
    first = set(range(min(looked_at, MAX_VIOLATIONS)))
    of_kinds = chain.from_iterable(rows for kinds in of_columns for rows in kinds.first.values())
    of_names = [table.rows_of_names[place] for place in kept] if table.rows_of_names else []
    return sorted(first.union(of_kinds, of_names))


def require_full(schema: Schema, decoded: DecodedRequest) -> None:
    """Reject a table most of which would be missing values, before it is made.

    Raises:
        MalformedPayload: it has more of them than its body has bytes.
    """
    table = table_finder.table(schema, decoded, {})
    if table and decoded.source and table.rows() * len(table.names) > len(decoded.source.text):
        raise _too_large(decoded, table.rows(), len(table.names), len(decoded.source.text))


def _too_large(decoded: DecodedRequest, rows: int, columns: int, limit: int) -> MalformedPayload:
    size = f"{rows} rows and {columns} columns"
    return MalformedPayload(
        f"The {decoded.format.value} would become a table of {size}: more than {limit} values.",
        expected=f"at most {limit} values",
        got=size,
    )
