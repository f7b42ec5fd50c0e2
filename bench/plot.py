"""The plot of what bodies take, by their rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.micro import Bulk


def plot(bulk: Sequence[Bulk], path: Path) -> None:
    """Draw time over rows, ours and the parser's, both axes logarithmic: a straight line of slope 1 is linear."""
    from matplotlib.figure import Figure  # noqa: PLC0415 -- a second that the other parts need not spend

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xscale="log", yscale="log", xlabel="rows in one request", ylabel="seconds")
    for number, name in enumerate(dict.fromkeys(each.format for each in bulk)):
        of_format = [each for each in bulk if each.format == name]
        rows = [each.rows for each in of_format]
        axes.plot(rows, [each.check_s for each in of_format], "o-", color=f"C{number}", label=f"{name}: body to input")
        axes.plot(rows, [each.parse_s for each in of_format], ":", color=f"C{number}", label=f"{name}: parsing alone")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)
