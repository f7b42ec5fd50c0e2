"""What only Linux has, and what does instead of it elsewhere: slower and looser, but with the same outcome."""

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
    """What a child of this process is to call first, so that it gets a signal when this process ends, however it does.

    Elsewhere a process of its own looks after each child; the signal comes at once there, too.
    """
    if IS_LINUX:
        parent = os.getpid()

        def ask_kernel() -> None:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
            if os.getppid() != parent:  # which ended before the line above
                os._exit(1)

        return ask_kernel
    reading, writing = _life()

    def look() -> None:
        os.close(writing)
        _look_after_this(number, reading)

    return look


def signal_at_pipe_end(reading: int, number: int) -> None:
    """Have a signal sent to this process as soon as nobody can write to a pipe any more, whatever it is doing then.

    Elsewhere a process of its own looks after it.

    Args:
        reading: the pipe's end to read from, into whose other end nobody writes.
        number: of the signal.
    """
    if not IS_LINUX:
        _look_after_this(number, reading)
        return
    fcntl.fcntl(reading, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(reading, fcntl.F_SETSIG, number)
    fcntl.fcntl(reading, fcntl.F_SETFL, fcntl.fcntl(reading, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([reading], [], [], 0)[0]:  # it ended before the line above
        os.kill(os.getpid(), number)


@cache
def _life() -> tuple[int, int]:
    """A pipe that ends with this process."""
    return os.pipe()


def _look_after_this(number: int, reading: int) -> None:
    child = os.getpid()
    if os.fork():
        return
    reading = fcntl.fcntl(reading, fcntl.F_DUPFD, 3)  # it may be one of the standard three
    for standard in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR), standard)
    os.closerange(3, reading)  # who waits for the end of the child's output waits for nobody else
    os.closerange(reading + 1, os.sysconf("SC_OPEN_MAX"))
    while os.getppid() == child:
        if select.select([reading], [], [], _LOOK_S)[0]:
            os.kill(child, number)
            break
    os._exit(0)


def limit_memory(further: int) -> None:
    """Let this process take at most so many bytes beyond what it has; what asks for more gets a MemoryError.

    Elsewhere a timer looks at it, and the error comes when Python goes on: a long call of a library may take more.
    """
    if IS_LINUX:
        limit = _data_bytes() + further
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        return
    import psutil  # noqa: PLC0415 -- which no worker needs on Linux

    process = psutil.Process()
    limit = process.memory_info().rss + further
    is_beyond = False

    def look(*_: object) -> None:
        nonlocal is_beyond
        was_beyond, is_beyond = is_beyond, process.memory_info().rss > limit
        if is_beyond and not was_beyond:  # else what handles the error would get the next one
            raise MemoryError

    signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, _LOOK_S / 10, _LOOK_S / 10)


def _data_bytes() -> int:
    """What RLIMIT_DATA counts of this process now."""
    status = Path("/proc/self/status").read_text("utf-8")
    (kilobytes,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmData:"))
    return int(kilobytes) * 1024
