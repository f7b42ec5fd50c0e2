"""Shows steps while they happen: spinners and running times on a terminal, a line per step elsewhere."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from embedded.step_times import Step, StepTimes

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Display:
    """A context in which `show` shows the steps, as often as it is called."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._live: Live | None = None
        self._steps: list[Step] = []
        self._said: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def show(self, step_times: StepTimes) -> None:
        """Shows the steps as they are now; a line of a step that has ended is printed once."""
        self._steps = step_times.steps
        if not self.console.is_terminal:
            for number in self._ended():
                self._said.add(number)
                self.console.print(_line(self._steps[number]), soft_wrap=True)
            return
        if self._live is None:
            self._live = Live(console=self.console, refresh_per_second=8, auto_refresh=False)
            self._live.start()
        self._live.update(self._table(), refresh=True)

    def pause(self) -> None:
        """Leaves the terminal to others; the next `show` goes on below what they wrote."""
        self._stop()

    def _stop(self) -> None:
        if self._live:
            ended = self._ended()
            self._live.update(Text("\n").join(_line(self._steps[number]) for number in ended), refresh=True)
            self._live.stop()
            self._live = None
            self._said.update(ended)

    def _ended(self) -> list[int]:
        steps = enumerate(self._steps)
        ended = [(step.ended, number) for number, step in steps if step.ended is not None and number not in self._said]
        return [number for _, number in sorted(ended)]

    def _table(self) -> Table:
        table = Table.grid()
        for number, step in enumerate(self._steps):
            if number in self._said:
                continue
            if step.ended is None:
                table.add_row(Text.assemble("  ", self._frame(), " ", _text(step)))
            else:
                table.add_row(_line(step))
        return table

    def _frame(self) -> str:
        return _FRAMES[int(self.console.get_time() * 10) % len(_FRAMES)]


def _line(step: Step) -> Text:
    return Text.assemble("  ", ("✗", "red") if step.failed else ("✓", "green"), " ", _text(step))


def _text(step: Step) -> Text:
    time = f"{step.name:<14}{step.seconds:6.1f} s"
    return Text.assemble(time, "  ", (step.note, "dim")) if step.note else Text(time)
