from pathlib import Path

from embedded.service import last_line, tail


def test_tail(tmp_path: Path) -> None:
    """The last lines, indented; blank ones do not count, and a progress bar shows as it last was."""
    log = tmp_path / "log"
    log.write_text("one\n\ntwo\n 1%\r 99%\n\n", encoding="utf-8")
    assert tail(log, 2) == "    two\n     99%"
    assert last_line(log) == "99%"


def test_tail_of_nothing(tmp_path: Path) -> None:
    """A log that is not there, or empty, says so instead of failing."""
    assert tail(tmp_path / "log") == "    (nothing)"
    assert last_line(tmp_path / "log") == ""
