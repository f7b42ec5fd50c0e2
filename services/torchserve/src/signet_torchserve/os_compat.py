"""What only Linux has, and what does instead of it elsewhere; `signet_contract.os_compat` has more of it."""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

_NICE = 10
IS_LINUX = sys.platform == "linux"
_shown: list[object] = []  # files that are kept until this process ends


def has_netty_sockets() -> bool:
    """Whether TorchServe and its workers can listen at Unix sockets; elsewhere they listen at ports of the loopback.

    Netty needs a library of the machine's kind for that, and TorchServe's jar has none for macOS on arm64.
    """
    return IS_LINUX


def shared_byte(name: str) -> mmap.mmap:
    """A byte of this process, 0 at first, that others of its user can read by the process id and the name.

    On Linux the byte lies in no file on a disk: while the kernel writes such a file, who changes the byte waits.
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


def set_oom_score(score: int) -> None:
    """Let the kernel end this process before others of a lower score, where it must end one for want of memory.

    Args:
        score: from 0, as others have, to 1000.
    """
    with contextlib.suppress(OSError):  # elsewhere than on Linux there is no such file
        Path("/proc/self/oom_score_adj").write_text(str(score), "ascii")


def lower_priority() -> None:
    """Let the machine do other work before this thread's, and before that of what the thread starts."""
    if IS_LINUX:  # where a thread has a priority of its own
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(_NICE, os.getpriority(os.PRIO_PROCESS, thread)))


def _files(pid: int) -> Iterator[tuple[str, Path]]:
    """What a process has open: its name, and where it can be read."""
    if IS_LINUX:
        for file in Path("/proc", str(pid), "fd").iterdir():
            yield str(file.readlink()).removeprefix("/memfd:"), file
        return
    with contextlib.suppress(psutil.Error):
        for named in psutil.Process(pid).open_files():
            yield Path(named.path).name, Path(named.path)
