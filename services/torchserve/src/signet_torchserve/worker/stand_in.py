"""Stands where TorchServe expects a worker, while the worker is a child of the forking process (`forking`).

TorchServe starts this program as its Python, and watches, reads and kills it as it does a worker. The program passes
its arguments, environment, working folder and standard descriptors to the forking process, which forks the worker; the
program ends as the worker ends. The worker ends when this program ends, however it does: it watches a pipe that ends
with it. Without a forking process this program becomes the worker itself: it runs Python.

It runs with `python -I -S` and without a single module that Python itself has not loaded, for each worker has one: it
takes 2.8 MiB and 15 ms. With `socket` and `signal` it would be 3.9 MiB and 22 ms.

One message goes to the forking process, with the descriptors 0 to 2 and the pipe: 4 bytes of length, and then, each
behind a zero byte but for the first one, the working folder, how many arguments there are, these, and the environment.
Two come back, of a letter and 4 bytes: the process id of the worker, and how it has ended (as `os.wait` has it).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what `signal` wraps, which loads enum
import _socket  # what `socket` wraps, as above
import os
import sys
from typing import NoReturn

STARTED, ENDED = b"P", b"S"
MESSAGE_BYTES = 5
START_S = 30.0
"""Seconds in which the forking process must have forked: it may only have begun to import."""
_SCRIPT = os.path.join("ts", "model_service_worker.py")  # noqa: PTH118 -- pathlib would have to be loaded
_FORWARDED = (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP, _signal.SIGQUIT, _signal.SIGUSR1, _signal.SIGUSR2)


def main(address: str, arguments: list[str]) -> NoReturn:
    """Run what Python with these arguments would run.

    Args:
        address: path of the forking process' socket.
        arguments: of Python; those of a worker begin with the path of TorchServe's script.
    """
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    life = os.pipe()  # open here as long as this process lives
    if not arguments or not arguments[0].endswith(_SCRIPT) or not (worker := _forked(connection, address, arguments, life)):
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 -- which closes connection and pipe
    _forward_signals(worker)
    _end_as(_told(connection, ENDED))


def _forked(connection: _socket.socket, address: str, arguments: list[str], life: tuple[int, int]) -> int | None:
    """Process id of the worker; None if nobody has forked it."""
    words = [os.getcwd(), str(len(arguments)), *arguments]  # noqa: PTH109 -- as above
    text = b"\0".join([*map(os.fsencode, words), *(b"=".join(pair) for pair in os.environb.items())])
    descriptors = b"".join(each.to_bytes(4, sys.byteorder) for each in (0, 1, 2, life[0]))
    connection.settimeout(START_S)
    try:
        connection.connect(address)
        sent = connection.sendmsg(
            [len(text).to_bytes(4, "big"), text], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)]
        )
        connection.sendall(text[max(sent - 4, 0) :])
        worker = _told(connection, STARTED)
        connection.settimeout(None)
    except OSError:
        return None
    os.close(life[0])
    return worker


def _told(connection: _socket.socket, kind: bytes) -> int | None:
    """What the forking process tells; None if it is gone, and the worker too, or tells something else."""
    message = b""
    while len(message) < MESSAGE_BYTES and (piece := connection.recv(MESSAGE_BYTES - len(message))):
        message += piece
    return int.from_bytes(message[1:], "big") if message[:1] == kind else None


def _forward_signals(worker: int) -> None:
    def forward(number: int, _: object) -> None:
        try:
            os.kill(worker, number)
        except ProcessLookupError:  # it has just ended
            pass

    for number in _FORWARDED:
        _signal.signal(number, forward)


def _end_as(status: int | None) -> NoReturn:
    """End as the worker has; with 1 if nobody can tell how that was."""
    if status is not None and os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number not in {_signal.SIGKILL, _signal.SIGSTOP}:
            _signal.signal(number, _signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(1 if status is None else os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
