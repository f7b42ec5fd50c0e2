import stat
from pathlib import Path

import pytest

from embedded.datadir import DataDir
from embedded.errors import DiskAlmostFull, FolderUnusable, StackBusy


@pytest.fixture
def folder(tmp_path: Path) -> DataDir:
    made = DataDir(tmp_path / "up")
    made.make()
    return made


def test_keys_are_random_stable_and_private(folder: DataDir) -> None:
    """A key is made once, stays, differs from others, and only this user can read it."""
    assert folder.key("a") == folder.key("a") != folder.key("b")
    assert len(folder.key("a")) == 40
    assert stat.S_IMODE((folder.path / "keys" / "a").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder.path / "keys").stat().st_mode) == 0o700


def test_secret_file_is_replaced(folder: DataDir) -> None:
    """A new text takes the place of the old one; no half-made file stays."""
    folder.secret_file("s", "one")
    assert folder.secret_file("s", "two").read_text(encoding="utf-8") == "two"
    assert [path.name for path in (folder.path / "keys").iterdir()] == ["s"]


def test_lock(folder: DataDir) -> None:
    """One supervisor at a time; who asks can see it."""
    assert not folder.is_locked()
    with folder.locked():
        assert folder.is_locked()
        with pytest.raises(StackBusy, match="a stack already runs in"), folder.locked():
            pass
    assert not folder.is_locked()


def test_path_that_cannot_be_a_folder(tmp_path: Path) -> None:
    """One line says which folder and why."""
    (tmp_path / "file").touch()
    with pytest.raises(FolderUnusable, match=r"cannot write to .*/file/up: Not a directory"):
        DataDir(tmp_path / "file" / "up").make()


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little space is said before anything starts."""
    monkeypatch.setattr("embedded.datadir._NEEDED_MB", 10**12)
    with pytest.raises(DiskAlmostFull, match=r"is almost full: \d+ MB are free, 1000000000000 MB are needed"):
        DataDir(tmp_path / "up").make()


def test_tail(folder: DataDir) -> None:
    """The last lines, indented; blank ones do not count, and a progress bar shows as it last was."""
    folder.log("job").write_text("one\n\ntwo\n 1%\r 99%\n\n", encoding="utf-8")
    assert folder.tail("job", 2) == "    two\n     99%"
    assert folder.last_line("job") == "99%"


def test_tail_of_nothing(folder: DataDir) -> None:
    """A log that is not there, or empty, says so instead of failing."""
    assert folder.log_end("job") == f"The log {folder.log('job')} ends so:\n    (nothing)"
    assert folder.last_line("job") == ""
