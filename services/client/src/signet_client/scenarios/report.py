"""The scenarios' table, readable in a terminal and in a log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOG_WIDTH = 132
_CELL = 76


@dataclass(frozen=True)
class Row:
    """One scenario's outcome in words."""

    scenario: str
    request: str
    expected: str
    got: str
    holds: bool
    elapsed_ms: float


def print_report(rows: Sequence[Row], address: str) -> int:
    """Print the table and what failed; return 0 if every scenario holds and 1 if one doesn't."""
    console = Console(highlight=False)
    if not console.is_terminal:  # a pipe or a container's log has no width of its own
        console = Console(highlight=False, width=_LOG_WIDTH)
    table = Table(title=f"Scenarios at {address}", box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for heading, ratio in (("Scenario", 5), ("Request", 5), ("Expected", 5), ("Got", 7)):
        table.add_column(heading, ratio=ratio, overflow="fold")
    table.add_column("Result", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    for row in rows:
        result = Text("holds", "green") if row.holds else Text("FAILS", "bold red")
        cells = (Text(row.scenario), Text(row.request), _short(row.expected), _short(row.got))
        table.add_row(*cells, result, f"{row.elapsed_ms:.0f}")
    console.print(table)

    failed = [row for row in rows if not row.holds]
    if failed:
        console.print(Text(f"{len(failed)} of {len(rows)} scenarios fail:", "bold red"))
        for row in failed:
            console.print(Text(f"{row.scenario}: {' '.join(row.got.split())}"), soft_wrap=True)
        return 1
    console.print(Text(f"All {len(rows)} scenarios hold.", "bold green"))
    return 0


def _short(text: str) -> Text:
    """As much as a cell may hold; what fails is shown whole below the table."""
    line = " ".join(text.split())
    return Text(line if len(line) <= _CELL else f"{line[:_CELL]}…")
