import io

from rich.console import Console

from embedded.display import Display
from embedded.step_times import Step, StepTimes


def shown(*, terminal: bool) -> str:
    """What a display writes about one step that ends, one that fails and one that an interruption breaks off."""
    file = io.StringIO()
    with Display(Console(file=file, force_terminal=terminal, width=80, highlight=False)) as display:
        step_times = StepTimes(display.show)
        step_times.steps = [Step("postgres", began=100, ended=101.5)]
        step_times.tick()
        display.pause()
        step_times.begin("training")
        step_times.fail()
        step_times.tick()
    return file.getvalue()


def test_without_a_terminal() -> None:
    """One plain line per step, said once, when it has ended."""
    assert shown(terminal=False).splitlines() == ["  ✓ postgres         1.5 s", "  ✗ training         0.0 s"]


def test_on_a_terminal() -> None:
    """The same lines remain in the end, each step's once per pause."""
    lines = [line.split("\x1b[2K")[-1] for line in shown(terminal=True).splitlines()]
    assert sum("postgres" in line and "1.5 s" in line for line in lines) >= 1
    assert "training" in lines[-2] or "training" in lines[-1]
