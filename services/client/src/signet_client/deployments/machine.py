"""What only Linux has, and what does instead of it elsewhere; the same as signet_contract.machine has it."""

from __future__ import annotations

import ctypes
import os
import select
import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

IS_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.2


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
