"""The forking process: it has imported what a worker needs, and forks every worker from itself; all share that memory.

Imports take nearly all of the time and memory of a worker's start (`make bench BENCH='--only many'`). This process
starts neither CUDA nor a pool of threads: none outlives a fork.

`shim` programs ask it for workers, over a Unix socket in a folder that only its own user can enter. Workers and shims
don't need this process afterwards: they go on when it ends.
"""

from __future__ import annotations

import gc
import importlib
import os
import runpy
import selectors
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from signet_contract import os_compat

from signet_torchserve.worker import shim

# All that a worker imports until it serves. TorchServe imports its own handlers only for models that name one.
_IMPORTED = "ts.model_service_worker", "signet_torchserve.worker.handler"
_BACKLOG = 1024  # the shims of all models may ask while this process still imports
_MESSAGE_S = 5.0


@dataclass(slots=True)
class Worker:
    """What a shim asks for: the program, arguments, environment and folder of a worker."""

    connection: socket.socket
    folder: bytes
    arguments: list[str]
    environment: dict[bytes, bytes]
    descriptors: list[int]
    """Standard input, output and error, and the pipe that ends with the shim."""

    @classmethod
    def asked_for(cls, connection: socket.socket) -> Worker:
        """The worker that a shim asks for.

        Raises:
            OSError: the shim is gone, or silent.
        """
        connection.settimeout(_MESSAGE_S)
        head, descriptors, _, _ = socket.recv_fds(connection, 4, 4)
        try:
            text = _received(connection, int.from_bytes(head, "big"))
        except OSError:
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        connection.settimeout(None)
        folder, count, *words = text.split(b"\0")
        pairs = (word.partition(b"=") for word in words[int(count) :])
        arguments = [os.fsdecode(word) for word in words[: int(count)]]
        return cls(connection, folder, arguments, {name: value for name, _, value in pairs}, descriptors)

    def run(self) -> None:
        """Become this worker, in the process that was forked for it, and run its program to the end."""
        *standard, life = self.descriptors
        os_compat.signal_at_pipe_end(life, signal.SIGKILL)
        for number, descriptor in enumerate(standard):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.chdir(self.folder)
        forking_path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        os.environb.clear()
        os.environb.update(self.environment)
        # sys.path gets the entries of the worker's PYTHONPATH at its front, and loses those of this process'.
        path = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
        sys.path[:] = [*path, *(entry for entry in sys.path if entry not in {*path, *forking_path, ""})]
        sys.argv = self.arguments
        self.connection.sendall(shim.STARTED % os.getpid())
        runpy.run_path(sys.argv[0], run_name="__main__")


class Workers:
    """The children of this process, with the connections to their shims."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._connections: dict[int, socket.socket] = {}

    def next_forked(self) -> Worker:
        """Fork a worker for each shim that asks.

        The parent never returns; each forked child returns the worker that it is to be.
        """
        with _ended_children() as ended, selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(ended, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is ended:
                        ended.recv(1 << 12)
                        self._tell_ends()
                    elif (worker := self._forked()) is not None:
                        return worker

    def _forked(self) -> Worker | None:
        connection, _ = self._listener.accept()
        try:
            worker = Worker.asked_for(connection)
        except OSError:
            connection.close()
            return None
        try:
            pid = os.fork()
        except OSError:  # no room for another process; the closed connection tells the shim
            pid = None
            connection.close()
        if pid != 0:
            for descriptor in worker.descriptors:
                os.close(descriptor)
            if pid is not None:
                self._connections[pid] = connection
            return None
        self._listener.close()
        for other in self._connections.values():
            other.close()  # else the end of another worker would not be seen by its shim
        return worker

    def _tell_ends(self) -> None:
        """Tell the shim of each worker that has ended how it ended."""
        with suppress(ChildProcessError):  # there is none left
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                with self._connections.pop(pid) as connection, suppress(OSError):  # the shim may be gone first
                    connection.sendall(_ending(status))


def _received(connection: socket.socket, size: int) -> bytes:
    text = bytearray()
    while (piece := connection.recv(size - len(text))) and len(text) + len(piece) < size:
        text += piece
    if not piece:
        raise ConnectionError("The shim is gone.")
    return bytes(text + piece)


def _ending(status: int) -> bytes:
    if os.WIFSIGNALED(status):
        return b"kill %d\n" % os.WTERMSIG(status)
    return b"exit %d\n" % os.WEXITSTATUS(status)


@contextmanager
def _ended_children() -> Iterator[socket.socket]:
    """A socket that can be read when a child has ended."""
    reading, writing = socket.socketpair()
    with reading, writing:
        writing.settimeout(0)
        before = signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        try:
            yield reading
        finally:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, before)


def main(address: str) -> None:
    """Fork workers for the shims that ask at the Unix socket `address`, until this process is ended."""
    Path(address).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o077)
    listener.bind(address)
    os.umask(before)
    # Before the imports: a shim that asks during these waits, instead of starting Python itself.
    listener.listen(_BACKLOG)
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else a worker's garbage collection would write to every page, and make each page its own
    Workers(listener).next_forked().run()


if __name__ == "__main__":
    main(sys.argv[1])
