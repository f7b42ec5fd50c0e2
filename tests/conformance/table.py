"""Requests to a model that prices a ride by two columns of doubles, `km` and `minutes`, and what is right for each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

PRICE = 25.0
"""Of the ride that all these requests mean: 10 kilometres in 20 minutes."""

Broken = list[tuple[str, int | None, str | int | None]]
"""Rule, row and column of each violation."""


@dataclass(frozen=True, slots=True)
class Case:
    """A request and what is right: a price for each row, or what its rejection names."""

    name: str
    body: bytes
    prices: list[float] | None = None
    broken: Broken | None = None
    content_type: str = "application/json"


def split(columns: list[str], *rows: list[Any]) -> bytes:
    """A body in the format that nearly everybody knows."""
    return json.dumps({"dataframe_split": {"columns": columns, "data": rows}}).encode()


BOTH = ["km", "minutes"]
MISSING: Broken = [("columns", None, "minutes")]
UNNAMED: Broken = [("columns", None, column) for column in (*BOTH, 0, 1)]

# What is sent to the servers by themselves, too: handlers that are written by hand know one format.
SPLIT = [
    Case("a right request", split(BOTH, [10.0, 20.0]), [PRICE]),
    Case("two rows", split(BOTH, [10.0, 20.0], [5.0, 12.0]), [PRICE, 15.0]),
    Case("columns in another order", split(BOTH[::-1], [20.0, 10.0]), [PRICE]),
    Case("whole numbers", split(BOTH, [10.0, 20]), broken=[("type", 0, "minutes")]),
    Case("a text of digits", split(BOTH, [10.0, "20"]), broken=[("type", 0, "minutes")]),
    Case("a boolean", split(BOTH, [10.0, True]), broken=[("type", 0, "minutes")]),
    Case("a word", split(BOTH, [10.0, "x"]), broken=[("type", 0, "minutes")]),
    Case("null", split(BOTH, [10.0, None]), broken=[("null", 0, "minutes")]),
    Case("NaN", split(BOTH, [10.0, float("nan")]), broken=[("null", 0, "minutes")]),
    Case("a number beyond float32", split(BOTH, [10.0, 1e39]), broken=[("finite", 0, "minutes")]),
    Case("a column too many", split([*BOTH, "tip"], [10.0, 20.0, 1.0]), broken=[("columns", None, "tip")]),
    Case("a column too few", split(["km"], [10.0]), broken=MISSING),
    Case("a column by another name", split(["km", "min"], [10.0, 20.0]), broken=[*MISSING, ("columns", None, "min")]),
    Case("no rows", split(BOTH), broken=[("empty", None, None)]),
    Case("no JSON", b'{"dataframe_split": ', broken=[("format", None, None)]),
]

OTHERS = [
    Case("records", b'{"dataframe_records": [{"km": 10.0, "minutes": 20.0}]}', [PRICE]),
    Case("instances", b'{"instances": [{"minutes": 20.0, "km": 10.0}]}', [PRICE]),
    Case("columns", b'{"inputs": {"km": [10.0, 5.0], "minutes": [20.0, 12.0]}}', [PRICE, 15.0]),
    Case("CSV", b"km,minutes\n10.0,20.0\n", [PRICE], content_type="text/csv"),
    Case("two formats", b'{"inputs": {}, "instances": []}', broken=[("format", None, None)]),
    Case("an empty body", b"", broken=[("format", None, None)]),
    Case("a number", b"7", broken=[("format", None, None)]),
    Case("CSV of a column too few", b"km\n10.0\n", broken=MISSING, content_type="text/csv"),
    Case("a wrong row among right ones", split(BOTH, *[[1.5, 2.5]] * 99, [1.5, "x"]), broken=[("type", 99, "minutes")]),
    Case("lists without names", b'{"inputs": [[10.0, 20.0]]}', broken=UNNAMED),
]
