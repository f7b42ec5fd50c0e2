"""The command as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from conftest import RunningServer


def test_one_process_serves(server: RunningServer) -> None:
    """Nothing can outlive the process that was started, because there is no other."""
    assert psutil.Process(server.process.pid).children(recursive=True) == []


def test_wrong_setting_is_one_line_and_exit_code_2() -> None:
    """A port that is none ends the command at once, without a traceback."""
    run = subprocess.run(
        [sys.executable, "-m", "signet_mlflow_server"],
        env=os.environ | {"MLFLOW_PORT": "none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (
        2,
        "Setting MLFLOW_PORT has value 'none'. Expected a port from 1 to 65535.\n",
    )
