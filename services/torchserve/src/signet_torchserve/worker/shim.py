"""The program that TorchServe starts in place of a worker; the worker itself is a child of the forking process.

TorchServe starts this program as its Python, and watches, reads and kills it like a worker. The program passes its
arguments, environment, working folder and standard descriptors to the forking process (`forking`), which forks the
worker. Then the program becomes a shell, which waits for the worker and ends in the same way. The worker ends when the
shell ends in whatever way: it watches a pipe that ends with the shell. If nobody forks, this program becomes the worker
itself: it runs Python.

The program must be small, because each worker has one. It runs with `python -I -S` and loads no module that Python has
not loaded itself. The waiting shell takes less memory than Python would.

One message goes to the forking process, with the descriptors 0 to 2 and the pipe. It has 4 bytes of length, and then,
with a zero byte between them: the working folder, the number of arguments, the arguments, the environment. Two lines
come back: the worker's process id, in ten digits, and how the worker ended, as `exit 0` or `kill 9`.
"""

from __future__ import annotations

import _socket  # what `socket` wraps, which loads enum and selectors
import os
import sys
from typing import NoReturn

STARTED = b"%010d\n"
START_S = 30.0
"""Seconds in which the forking process must have forked. They are many because it may still import."""
_STARTED_BYTES = 11
_SCRIPT = os.path.join("ts", "model_service_worker.py")  # noqa: PTH118 -- pathlib would have to be loaded
_WAIT = """
# Each signal is handed on to the worker, which is the process $1.
for name in HUP INT QUIT TERM USR1 USR2; do trap "came=$name; kill -$name $1 2>/dev/null" $name; done
# One line tells how the worker ended. `read` fails when a signal has come: then wait on. If it fails without one, the
# forking process is gone.
while came=; ! read -r how number; do [ "$came" ] || exit 1; done
# End in the same way: with its exit code, or by the same signal. The worker has dumped its core, so the shell does not.
[ "$how" = exit ] && exit "$number"
trap - HUP INT QUIT TERM USR1 USR2
ulimit -c 0
kill "-$number" $$
"""


def main(address: str, arguments: list[str]) -> NoReturn:
    """Run what Python with these arguments would run.

    Args:
        address: path of the forking process' socket.
        arguments: of Python; those of a worker begin with the path of TorchServe's script.
    """
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    life = os.pipe()
    worker = None
    if arguments and arguments[0].endswith(_SCRIPT):
        worker = _forked(connection, address, arguments, life[0])
    if worker is None:
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 -- which closes connection and pipe
    os.dup2(connection.fileno(), 0)
    os.set_inheritable(life[1], True)  # noqa: FBT003 -- open as long as the shell lives
    os.execv("/bin/sh", ["sh", "-c", _WAIT, "sh", worker])  # noqa: S606 -- every word of it is ours


def _forked(connection: _socket.socket, address: str, arguments: list[str], life: int) -> str | None:
    """Process id of the worker; None if nobody has forked it."""
    words = [os.getcwd(), str(len(arguments)), *arguments]  # noqa: PTH109 -- as above
    text = b"\0".join([*map(os.fsencode, words), *(b"=".join(pair) for pair in os.environb.items())])
    descriptors = b"".join(each.to_bytes(4, sys.byteorder) for each in (0, 1, 2, life))
    connection.settimeout(START_S)
    told = b""
    try:
        connection.connect(address)
        head = len(text).to_bytes(4, "big")
        connection.sendmsg([head], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)])
        connection.sendall(text)
        while len(told) < _STARTED_BYTES and (piece := connection.recv(_STARTED_BYTES - len(told))):
            told += piece
    except OSError:
        return None
    connection.settimeout(None)
    return str(int(told)) if len(told) == _STARTED_BYTES else None


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
