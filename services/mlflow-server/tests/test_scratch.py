"""Temporary files lie where TMPDIR says, and those of servers that were killed don't stay."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = """
import sys, tempfile
from signet_mlflow_server import scratch
folder = scratch.begin()
assert tempfile.gettempdir() == str(folder)
(folder / "half").write_text("an upload that has not ended")
print(folder, flush=True)
sys.stdin.read()
"""


def _begin(tmpdir: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN],
        env=os.environ | {"TMPDIR": str(tmpdir)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    return process, process.stdout.readline().strip()


def test_what_a_killed_server_left_is_deleted(tmp_path: Path) -> None:
    """The next server deletes it, and nothing of one that runs or of anybody else."""
    (tmp_path / "else").mkdir()
    killed, left = _begin(tmp_path)
    running, kept = _begin(tmp_path)
    with killed, running:
        killed.kill()
        killed.wait()
        third, own = _begin(tmp_path)
        with third:
            assert {str(path) for path in tmp_path.iterdir()} == {str(tmp_path / "else"), kept, own}
            assert left not in {kept, own}
            third.kill()
        running.kill()
