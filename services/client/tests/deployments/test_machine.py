"""What only Linux has, and what does instead of it elsewhere."""

from __future__ import annotations

import signal
import subprocess
import sys

import psutil
import pytest

PARENT = """
import signal, subprocess, sys
from signet_client.deployments import machine
machine.IS_LINUX = sys.argv[1] == "True"
child = subprocess.Popen(["sleep", "60"], preexec_fn=machine.with_parent(signal.SIGTERM))
print(child.pid, flush=True)
input()
"""


@pytest.mark.parametrize("is_linux", [True, False], ids=["Linux", "elsewhere"])
def test_a_child_ends_with_its_parent(*, is_linux: bool) -> None:
    """However that one ends."""
    command = [sys.executable, "-c", PARENT, str(is_linux)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs([child], timeout=5)
    assert not alive
