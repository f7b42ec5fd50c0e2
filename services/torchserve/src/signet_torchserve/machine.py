"""What only Linux has, and what does instead of it elsewhere: slower and looser, but with the same outcome."""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import select
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

IS_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.2
_shown: list[object] = []  # files that stay as long as this process


def has_netty_sockets() -> bool:
    """Whether TorchServe and its workers can listen at Unix sockets; elsewhere they listen at ports of the loopback.

    Netty needs a library of the machine's kind for that, and TorchServe's jar has none for macOS on arm64.
    """
    return IS_LINUX


def cores() -> int:
    """How many cores this process may use; elsewhere how many there are."""
    return len(os.sched_getaffinity(0)) if IS_LINUX else os.cpu_count() or 1


def with_parent(number: int) -> Callable[[], None]:
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
    life = _life()
    return lambda: _look_after_this(number, life)


@cache
def _life() -> tuple[int, int]:
    """A pipe that ends with this process."""
    return os.pipe()


def _look_after_this(number: int, life: tuple[int, int]) -> None:
    child = os.getpid()
    reading, writing = life
    os.close(writing)
    if os.fork():
        return
    for standard in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR), standard)
    os.closerange(3, reading)  # who waits for the end of the child's output waits for nobody else
    os.closerange(reading + 1, os.sysconf("SC_OPEN_MAX"))
    while os.getppid() == child:
        if select.select([reading], [], [], _LOOK_S)[0]:
            os.kill(child, number)
            break
    os._exit(0)


def bound_memory(further: int) -> None:
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


def shown_byte(name: str) -> mmap.mmap:
    """A byte of this process, 0 at first, that others of its user can read by the process id and the name.

    Where it can, it has no file on a disk: while such a page is written back, who changes it waits.
    """
    if IS_LINUX:
        descriptor = os.memfd_create(name)  # stays open: it is how the byte is found
    else:
        file = tempfile.NamedTemporaryFile(prefix=f"{name}-")  # noqa: SIM115 -- as above
        _shown.append(file)
        descriptor = file.fileno()
    os.write(descriptor, b"\0")
    return mmap.mmap(descriptor, 1)


def read_byte(pid: int, name: str) -> bytes | None:
    """The byte that the process `pid` shows; None if it shows none, or is gone."""
    try:
        for called, file in _files(pid):
            if called.startswith(name):
                return file.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        pass
    return None


def exists(pid: int) -> bool:
    """Whether there is a process with this id, be it one that has ended and that nobody has asked about."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _files(pid: int) -> Iterator[tuple[str, Path]]:
    """What a process has open: its name, and where it can be read."""
    if IS_LINUX:
        for file in Path("/proc", str(pid), "fd").iterdir():
            yield str(file.readlink()).removeprefix("/memfd:"), file
        return
    import psutil  # noqa: PLC0415 -- as above

    try:
        opened = psutil.Process(pid).open_files()
    except psutil.Error:
        return
    for named in opened:
        yield Path(named.path).name, Path(named.path)
