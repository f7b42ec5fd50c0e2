"""Functions that need Linux, and do something like it elsewhere. Standard library only: a shim uses them."""

import contextlib
import ctypes
import os
import signal
import subprocess
from pathlib import Path

IS_LINUX = Path("/proc/thread-self/children").exists()
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Makes this process the parent of descendants whose own parent ends. Elsewhere the process group has to do."""
    if IS_LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def be_nice(niceness: int) -> None:
    """Let other processes go before this one and all that it starts.

    Where Linux gives each session an equal part of the machine, the niceness of a process counts only within its
    session. Then the session's own niceness must be set, too.

    Source: sched(7), "The autogroup feature"
    """
    os.nice(niceness)
    with contextlib.suppress(OSError):  # elsewhere, and where sessions are no groups, there is no such file
        Path("/proc/self/autogroup").write_text(str(niceness), encoding="ascii")


def spawn(command: list[str], stop_signal: int) -> "subprocess.Popen[bytes]":
    """Starts the command. If this process is killed, the command gets its stop signal.

    Elsewhere the command leads a process group of its own, and lives on until the next start of its stack ends it.
    """
    if not IS_LINUX:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    parent = os.getpid()

    def die_with_parent() -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, stop_signal)
        if os.getppid() != parent:  # killed before the line above
            os._exit(1)

    return subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)  # noqa: PLW1509 -- one call, which takes no lock


def kill_children(command: int) -> None:
    """Sends SIGKILL to all children of this process; elsewhere to the process group of `command`."""
    if IS_LINUX:
        for pid in Path("/proc/thread-self/children").read_text(encoding="ascii").split():
            os.kill(int(pid), signal.SIGKILL)
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left in it, or only who has ended
        os.killpg(command, signal.SIGKILL)


def bounding_capabilities() -> int:
    """The bits of the rights that root has here at most; 0 elsewhere, where there are no such rights to pass on."""
    if not IS_LINUX:
        return 0
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd")), 16)
