from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from signet_contract import Contract, os_compat
from signet_contract.enforcement import service, service_client
from signet_contract.errors import SignatureMismatch
from signet_contract.request import RawBody

from testing.enforcing import service_at
from testing.oracle import columns_schema, signature_document

CONTRACT = signature_document(columns_schema(("double", "a")))
COUNT = 2 * min(max(service.FEWEST, os_compat.cores()), service.MOST)
SMALL, LARGE = b'{"a": 2}', b'{"a": [%s2]}' % (b"2, " * service_client.SMALL_BYTES)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the service decides, and this process asks."""
    with (
        pytest.MonkeyPatch.context() as patch,
        service_at(tmp_path_factory.mktemp("enforcement") / "enforcement.sock") as address,
    ):
        patch.setenv(service_client.ADDRESS, str(address))
        assert comes_true(lambda: len(processes(address)) == COUNT)
        yield address


def refuse(body: bytes) -> None:
    """Ask about a body, which is wrong."""
    with pytest.raises(SignatureMismatch):
        Contract(CONTRACT, timeout_s=30).enforce(RawBody(body).decode())


def main_of(address: Path) -> psutil.Process:
    """The process from which the others are forked."""
    return next(each for each in psutil.Process().children() if str(address) in each.cmdline())


def is_there(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def processes(address: Path) -> set[int]:
    """Process ids of the service; one that has ended and is not replaced yet is none."""
    with suppress(psutil.NoSuchProcess):
        return {each.pid for each in main_of(address).children() if is_there(each)}
    return processes(address)  # one has ended meanwhile


def comes_true(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not (found := is_so()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def refuse_large(address: Path) -> None:
    """Ask about a large body, with which one process ends, and is replaced."""
    before = processes(address)
    refuse(LARGE)
    assert comes_true(lambda: len(before - processes(address)) == 1 and len(processes(address)) == COUNT)


def test_killed_processes_are_replaced(address: Path) -> None:
    """However often they end, there are as many again, and they decide: both small bodies and large ones."""
    for _ in range(2):
        for pid in (before := processes(address)):
            psutil.Process(pid).kill()
        assert comes_true(lambda before=before: len(processes(address) - before) == COUNT)
        refuse(SMALL)
        refuse_large(address)


def test_one_killed_process_ends_no_other(address: Path) -> None:
    """The others decide on meanwhile."""
    before = processes(address)
    psutil.Process(min(before)).kill()
    refuse(SMALL)
    assert comes_true(lambda: len(processes(address)) == COUNT)
    assert before - processes(address) == {min(before)}


def test_a_process_of_small_bodies_stays_and_one_of_large_ones_ends(address: Path) -> None:
    """So that what a large body took is given back: with each another process ends, and is replaced."""
    before = processes(address)
    for _ in range(2 * COUNT):
        refuse(SMALL)
    assert processes(address) == before
    for _ in range(2):
        refuse_large(address)


def test_who_hangs_up_ends_no_process(address: Path) -> None:
    """A question of which only a part comes, or none, is forgotten."""
    before = processes(address)
    for messages in ([], [b"{}"], [b"{}", SMALL]):
        with service_client.Client(str(address), family="AF_UNIX") as connection:
            assert connection.recv_bytes() == b""
            for message in messages:
                connection.send_bytes(message)
    refuse(SMALL)
    assert processes(address) == before


def test_nobody_else_may_ask(address: Path) -> None:
    """The sockets are for the user that the service runs as."""
    for path in (address, Path(service_client.large_address(str(address)))):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_processes_end_with_the_one_they_are_forked_from(tmp_path: Path) -> None:
    """However it ends, none is left behind."""
    with service_at(tmp_path / "enforcement.sock") as address:
        assert comes_true(lambda: len(processes(address)) == COUNT)
        left = [psutil.Process(pid) for pid in processes(address)]
        main_of(address).kill()
    assert comes_true(lambda: not any(map(is_there, left)))
