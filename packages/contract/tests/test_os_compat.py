"""What only Linux has, and what does instead of it elsewhere: tried here by switching the other off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest
from signet_contract import os_compat

WAYS = pytest.mark.parametrize("is_linux", [True, False], ids=["Linux", "elsewhere"])
PARENT = """
import os, signal, subprocess, sys
from signet_contract import os_compat
os_compat.IS_LINUX = sys.argv[1] == "True"
others = [subprocess.Popen(["sleep", "60"], preexec_fn=os_compat.parent_death_signal(signal.SIGKILL)) for _ in range(2)]
set_death_signal = os_compat.parent_death_signal(signal.SIGKILL)
child = os.fork()
if not child:
    set_death_signal()
    signal.pause()
print(child, *(other.pid for other in others), flush=True)
input()
for other in others:
    other.kill()
    other.wait()
os.kill(child, signal.SIGKILL)
"""
WATCHES = """
import signal, sys, time
from signet_contract import os_compat
os_compat.IS_LINUX = sys.argv[1] == "True"
os_compat.signal_at_pipe_end(0, signal.SIGKILL)
time.sleep(2 * os_compat._LOOK_S)
print("watches", flush=True)
while True:
    pass
"""
HUNGRY = """
import os, sys
from signet_contract import os_compat
os_compat.IS_LINUX = sys.argv[1] == "True"
os_compat.limit_memory(100 << 20)
kept = [bytes(1 << 20) for _ in range(50)]
try:
    for _ in range(1 << 20):
        kept.append(bytes([1]) * (1 << 20))
except MemoryError:
    print(len(kept), flush=True)
os._exit(0)  # as an enforcement process ends
"""


def _is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@WAYS
@pytest.mark.parametrize("ends", ["killed", "told to end"])
def test_children_end_with_their_parent(ends: str, *, is_linux: bool) -> None:
    """A program and a fork alike; and who reads a child's output waits for nobody but the child."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(is_linux)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        children = [int(word) for word in parent.stdout.readline().split()]
        assert len(children) == 3
        assert not any(map(_is_gone, children))
        if ends == "killed":
            parent.send_signal(signal.SIGKILL)
            parent.wait()
        else:
            parent.communicate("\n", timeout=10)
    gone, alive = psutil.wait_procs([psutil.Process(pid) for pid in children if not _is_gone(pid)], timeout=5)
    assert not alive, gone


@WAYS
@pytest.mark.parametrize("when", ["before", "later"])
def test_a_process_ends_with_a_pipe(when: str, *, is_linux: bool) -> None:
    """However busy it is, and whether the pipe has ended before or ends later; while the pipe is there it goes on."""
    with subprocess.Popen(
        [sys.executable, "-c", WATCHES, str(is_linux)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if when == "later":
            assert process.stdout.readline() == b"watches\n"
        process.stdin.close()
        assert process.wait(10) == -signal.SIGKILL


@WAYS
def test_memory_has_a_bound(*, is_linux: bool) -> None:
    """What goes beyond it is a MemoryError, and what stays below is not."""
    done = subprocess.run([sys.executable, "-c", HUNGRY, str(is_linux)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 50 < int(done.stdout) < 300


@WAYS
def test_some_cores(monkeypatch: pytest.MonkeyPatch, *, is_linux: bool) -> None:
    """There is always one."""
    monkeypatch.setattr(os_compat, "IS_LINUX", is_linux)
    assert 1 <= os_compat.cores() <= (os.cpu_count() or 1)
