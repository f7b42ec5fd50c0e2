"""What only Linux has, with a substitute for elsewhere: slower and looser, but with the same outcome."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

IS_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.2


def cores() -> int:
    """How many cores this process may use; elsewhere how many there are."""
    return len(os.sched_getaffinity(0)) if IS_LINUX else os.cpu_count() or 1


def parent_death_signal(number: int) -> Callable[[], None]:
    """A function that a child calls first, to get a signal when this process ends, however that happens.

    Elsewhere each child has a process that watches this one; the signal comes at once there, too.
    """
    if IS_LINUX:
        parent = os.getpid()

        def ask_kernel() -> None:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
            if os.getppid() != parent:  # the parent ended before the line above
                os._exit(1)

        return ask_kernel
    reading, writing = _life()

    def start_watcher() -> None:
        os.close(writing)
        _start_watcher(number, reading)

    return start_watcher


def signal_at_pipe_end(reading: int, number: int) -> None:
    """Have a signal sent to this process as soon as nobody can write to a pipe any more, whatever it is doing then.

    Args:
        reading: the pipe's end to read from; nothing is ever written to the other end.
        number: of the signal.
    """
    if not IS_LINUX:
        _start_watcher(number, reading)
        return
    fcntl.fcntl(reading, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(reading, fcntl.F_SETSIG, number)
    fcntl.fcntl(reading, fcntl.F_SETFL, fcntl.fcntl(reading, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([reading], [], [], 0)[0]:  # the pipe ended before the line above
        os.kill(os.getpid(), number)


@cache
def _life() -> tuple[int, int]:
    """A pipe that ends with this process."""
    return os.pipe()


def _start_watcher(number: int, reading: int) -> None:
    """Forks a process that sends this one a signal at the pipe's end, and returns in this one."""
    watched = os.getpid()
    if os.fork():
        return
    reading = fcntl.fcntl(reading, fcntl.F_DUPFD, 3)  # it may be one of the standard three
    for standard in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR), standard)
    os.closerange(3, reading)  # else who waits for the end of the watched one's output would wait for this one, too
    os.closerange(reading + 1, os.sysconf("SC_OPEN_MAX"))
    while os.getppid() == watched:
        if select.select([reading], [], [], _LOOK_S)[0]:
            os.kill(watched, number)
            break
    os._exit(0)


def limit_memory(further: int) -> None:
    """Let this process take at most `further` bytes beyond what it has; code that asks for more gets a MemoryError.

    Elsewhere a timer looks at the memory. The error comes when Python goes on: a long call of a library may take more.
    """
    if IS_LINUX:
        limit = _data_bytes() + further
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        return
    import psutil  # noqa: PLC0415 -- no worker needs it on Linux

    process = psutil.Process()
    limit = process.memory_info().rss + further
    is_beyond = False

    def look(*_: object) -> None:
        nonlocal is_beyond
        was_beyond, is_beyond = is_beyond, process.memory_info().rss > limit
        if is_beyond and not was_beyond:  # else the code that handles the error would get the next one
            raise MemoryError

    signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, _LOOK_S / 10, _LOOK_S / 10)


def _data_bytes() -> int:
    """What RLIMIT_DATA counts of this process now."""
    status = Path("/proc/self/status").read_text("utf-8")
    (kilobytes,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmData:"))
    return int(kilobytes) * 1024
