"""What stands in for a worker ends as it does, and it with that; without anybody who forks it is the worker."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from signet_torchserve.worker import shim

from testing.polling import until

FORKING = """
import sys
from signet_contract import os_compat
from signet_torchserve.worker import forking
os_compat.IS_LINUX = sys.argv[2] == "True"
forking.main(sys.argv[1])
"""
PROGRAM = """
import ctypes, os, signal, sys, threading, time
what, *words = sys.argv[1:]
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})  # a handler may run just before a wait, which goes on then
print(os.getpid(), os.getppid(), os.environ.get("WORD"), os.getcwd(), sys.stdin.read(), *words, flush=True)
print("error", file=sys.stderr)
match what:
    case "raise":
        raise ValueError(what)
    case "segfault":
        ctypes.string_at(0)
    case "wait":
        signal.sigwait({signal.SIGUSR1})
        os._exit(9)
    case "thread":
        threading.Thread(target=lambda: (time.sleep(0.2), print("late", flush=True))).start()
    case _:
        sys.exit(int(what))
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program where a worker's would be."""
    path = tmp_path_factory.mktemp("a folder é") / "ts" / "model_service_worker.py"
    path.parent.mkdir()
    path.write_text(PROGRAM)
    return path


@pytest.fixture(scope="module", params=["Linux", "elsewhere"])
def forks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of a forking process: with what only Linux has, and with what does instead of it."""
    address = tmp_path_factory.mktemp("sockets") / "fork.sock"
    with subprocess.Popen([sys.executable, "-c", FORKING, str(address), str(request.param == "Linux")]) as process:
        until("the forking process listens", address.is_socket)
        yield address
        process.kill()


@pytest.fixture(params=["forked", "anew"])
def address(request: pytest.FixtureRequest, forks: Path, tmp_path: Path) -> Path:
    """Where somebody forks, and where nobody does."""
    return forks if request.param == "forked" else tmp_path / "nobody.sock"


def started(address: Path, script: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", shim.__file__, str(address), str(script), *arguments],
        cwd=script.parent,
        env={**os.environ, "WORD": "é\nof two lines"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def waits(pid: int) -> bool:
    """Whether a process is a shell that waits, and so has become what is to stand in for a worker."""
    process = psutil.Process(pid)
    return process.name() in {"sh", "dash", "bash"} and process.status() == psutil.STATUS_SLEEPING


@pytest.mark.parametrize(
    ("what", "code"), [("0", 0), ("1", 1), ("77", 77), ("raise", 1), ("segfault", -signal.SIGSEGV), ("thread", 0)]
)
def test_it_ends_as_the_worker(address: Path, script: Path, what: str, code: int) -> None:
    """Input, output, errors, folder, environment, arguments and exit code are one program's, whoever runs it."""
    process = started(address, script, what, "a b", "")
    output, errors = process.communicate("what it reads", timeout=60)
    pid, _, rest = output.split(" ", 2)
    assert process.returncode == code
    assert (int(pid) == process.pid) == (address.name == "nobody.sock")
    late = "late\n" if what == "thread" else ""
    assert rest == f"é\nof two lines {script.parent} what it reads a b \n{late}"
    assert errors.startswith("error\n")
    assert ("ValueError: raise" in errors) == (what == "raise")


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL), (signal.SIGUSR1, 9)],
    ids=lambda value: getattr(value, "name", None),
)
@pytest.mark.parametrize("whom", ["the shim", "the worker"])
def test_signals(address: Path, script: Path, number: signal.Signals, code: int, whom: str) -> None:
    """A signal to either is one to the worker, and both are gone."""
    process = started(address, script, "wait")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.stdin = None
    worker = int(process.stdout.readline().split()[0])
    if worker != process.pid:
        until("the shim waits", lambda: waits(process.pid))
    os.kill(process.pid if whom == "the shim" else worker, number)
    process.communicate(timeout=10)
    assert process.returncode == code
    until("the worker is gone", lambda: not psutil.pid_exists(worker))


def test_other_programs_are_python_s(forks: Path) -> None:
    """TorchServe has its Python run other things too: those aren't forked."""
    command = [sys.executable, "-I", "-S", shim.__file__, str(forks), "-c", "import os; print(os.getppid())"]
    assert int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) == os.getpid()


@pytest.mark.parametrize("sent", [b"", b"\0\0\1\0half of it"], ids=["nothing", "half"])
def test_who_asks_and_goes_harms_nobody(sent: bytes, forks: Path, script: Path) -> None:
    """What stands in for a worker may be killed at any time; the next one is forked."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(forks))
        connection.sendall(sent)
    process = started(forks, script, "0")
    output, _ = process.communicate("", timeout=60)
    assert process.returncode == 0
    assert int(output.split()[0]) != process.pid


def test_it_is_small(forks: Path, script: Path) -> None:
    """While it waits, what stands in for a worker takes less than a MiB of its own."""
    process = started(forks, script, "wait")
    try:
        until("the shim waits", lambda: waits(process.pid))
        assert psutil.Process(process.pid).memory_full_info().uss < 1 << 20
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("answer", [b"", b"exit 1\n", None], ids=["gone", "has failed", "silent"])
def test_who_forks_nothing(answer: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forking process that ends, fails or stays silent is as none."""
    monkeypatch.setattr(shim, "START_S", 0.2)
    reading, writing = os.pipe()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as connection:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()

        def serve() -> None:
            accepted, _ = listener.accept()
            with accepted:
                accepted.recv(1 << 20)
                if answer is None:
                    accepted.recv(1 << 20)
                    closed.wait(10)
                else:
                    accepted.sendall(answer)

        closed = threading.Event()
        thread = threading.Thread(target=serve)
        thread.start()
        assert shim._forked(connection, str(tmp_path / "socket"), ["x"], reading) is None
        closed.set()
        thread.join()
    os.close(reading)
    os.close(writing)
