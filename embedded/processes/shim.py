"""Runs one command, and ends it with all its descendants when told to, or when its supervisor is gone.

Started as `python -I -S shim.py <stop signal> <grace seconds> <niceness> <command…>` with a pipe as stdin that nobody
writes to. At the pipe's end (the supervisor closed it or died) and at SIGTERM, the command gets its stop signal, and
after the grace time it is killed. At SIGUSR1 it is killed at once. Its descendants are killed when it has ended. The
exit code is a shell's: 128 + n for signal n. Little of the standard library is used: each service has such a process.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))  # -I leaves the repository's root out

from embedded.processes import os_compat

_ASKED = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def reap(found: dict[int, int]) -> bool:
    """Adds children that have ended to `found` (pid to exit status). Returns False if no child is left."""
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return True
            found[pid] = os.waitstatus_to_exitcode(status)
    except ChildProcessError:
        return False


def kill_descendants(command: int, found: dict[int, int]) -> None:
    """Sends SIGKILL until no child is left: orphans become children of this process, too."""
    os_compat.kill_children(command)
    while reap(found):
        time.sleep(0.01)
        os_compat.kill_children(command)


def watch(child: int, found: dict[int, int], stop: Callable[[], None], grace_s: float, signals: int) -> None:
    """Returns when the command has ended or has to be killed."""
    sources, deadline = [sys.stdin.fileno(), signals], None
    while reap(found) and child not in found:
        wait_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = select.select(sources, [], [], wait_s)[0]
        came = set(os.read(signals, 64)) if signals in ready else set()
        if signal.SIGUSR1 in came or (deadline is not None and time.monotonic() >= deadline):
            return
        gone = sys.stdin.fileno() in ready
        if gone:
            sources = [signals]
        if deadline is None and (gone or came & _ASKED):
            deadline = time.monotonic() + grace_s
            stop()


def main(arguments: list[str]) -> int:
    stop_signal, grace_s, niceness, command = int(arguments[0]), float(arguments[1]), int(arguments[2]), arguments[3:]
    os_compat.adopt_orphans()
    os_compat.be_nice(niceness)
    signals, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup)
    for number in (signal.SIGCHLD, signal.SIGUSR1, *_ASKED):
        signal.signal(number, lambda *_: None)
    try:
        process = os_compat.spawn(command, stop_signal)  # kept: once it is garbage, Popen collects the exit code itself
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    found: dict[int, int] = {}
    child = process.pid
    watch(child, found, lambda: os.kill(child, stop_signal), grace_s, signals)
    kill_descendants(child, found)
    code = found.get(child, 1)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
