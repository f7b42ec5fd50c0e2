from __future__ import annotations

from typing import TYPE_CHECKING

from signet_client.scenarios.report import Row, print_report

if TYPE_CHECKING:
    import pytest


def test_brackets_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    """A message's brackets reach the table; rich would take [/b] for markup."""
    assert print_report([Row("a", "b", "c", "missing inputs ['x'] [/b] [red]", holds=True, elapsed_ms=1)], "here") == 0
    assert "missing inputs ['x'] [/b] [red]" in " ".join(capsys.readouterr().out.split())


def test_failure_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """What went wrong isn't cut short; what holds is."""
    rows = [
        Row("good", "", "", "g" * 500, holds=True, elapsed_ms=1),
        Row("bad", "", "", "w" * 500, holds=False, elapsed_ms=1),
    ]
    assert print_report(rows, "here") == 1
    out = capsys.readouterr().out
    assert out.rstrip().endswith(f"1 of 2 scenarios fail:\nbad: {'w' * 500}")
    assert out.count("g") < 100
