import os
import subprocess
from pathlib import Path

from embedded.processes import orphans


def test_ends_only_what_carries_the_mark(tmp_path: Path) -> None:
    """A process with this folder's mark is killed, one with another folder's and one with none are not."""
    environments = [orphans.mark(tmp_path), orphans.mark(tmp_path / "other"), {}]
    processes = [subprocess.Popen(["sleep", "60"], env={**os.environ, **marked}) for marked in environments]
    try:
        assert orphans.end(tmp_path) == 1
        assert [process.poll() is None for process in processes] == [False, True, True]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_nothing_left(tmp_path: Path) -> None:
    """Nothing marked, nothing ended."""
    assert orphans.end(tmp_path) == 0
