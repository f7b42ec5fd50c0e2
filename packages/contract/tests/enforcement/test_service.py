from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from judging import judges_at
from oracle import columns_schema, signature_document
from signet_contract import machine
from signet_contract.enforcement import remote, service
from signet_contract.errors import SignatureMismatch
from signet_contract.request import RawBody

CONTRACT = signature_document(columns_schema(("double", "a")))
COUNT = 2 * min(max(service.FEWEST, machine.cores()), service.MOST)
SMALL, LARGE = b'{"a": 2}', b'{"a": [%s2]}' % (b"2, " * remote.SMALL_BYTES)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where judges judge, and this process asks."""
    with pytest.MonkeyPatch.context() as patch, judges_at(tmp_path_factory.mktemp("judge") / "judge.sock") as address:
        patch.setenv(remote.ADDRESS, str(address))
        assert comes_true(lambda: len(judges(address)) == COUNT)
        yield address


def refuse(body: bytes) -> None:
    """Ask about a body, which is wrong."""
    with pytest.raises(SignatureMismatch):
        remote.decide(CONTRACT, RawBody(body).decode(), 30)


def main_of(address: Path) -> psutil.Process:
    """The process from which the judges are forked."""
    return next(each for each in psutil.Process().children() if str(address) in each.cmdline())


def is_there(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def judges(address: Path) -> set[int]:
    """Process ids of the judges; one that has ended and is not replaced yet is none."""
    with suppress(psutil.NoSuchProcess):
        return {each.pid for each in main_of(address).children() if is_there(each)}
    return judges(address)  # one has ended meanwhile


def comes_true(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not (found := is_so()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def refuse_large(address: Path) -> None:
    """Ask about a large body, with which one judge ends, and is replaced."""
    before = judges(address)
    refuse(LARGE)
    assert comes_true(lambda: len(before - judges(address)) == 1 and len(judges(address)) == COUNT)


def test_killed_judges_are_replaced(address: Path) -> None:
    """However often they end, there are as many again, and they judge: both small bodies and large ones."""
    for _ in range(2):
        for pid in (before := judges(address)):
            psutil.Process(pid).kill()
        assert comes_true(lambda before=before: len(judges(address) - before) == COUNT)
        refuse(SMALL)
        refuse_large(address)


def test_one_killed_judge_ends_no_other(address: Path) -> None:
    """The others judge on meanwhile."""
    before = judges(address)
    psutil.Process(min(before)).kill()
    refuse(SMALL)
    assert comes_true(lambda: len(judges(address)) == COUNT)
    assert before - judges(address) == {min(before)}


def test_a_judge_of_small_bodies_stays_and_one_of_large_ones_ends(address: Path) -> None:
    """So that what a large body took is given back: with each another judge ends, and is replaced."""
    before = judges(address)
    for _ in range(2 * COUNT):
        refuse(SMALL)
    assert judges(address) == before
    for _ in range(2):
        refuse_large(address)


def test_who_hangs_up_ends_no_judge(address: Path) -> None:
    """A question of which only a part comes, or none, is forgotten."""
    before = judges(address)
    for messages in ([], [b"{}"], [b"{}", SMALL]):
        with remote.Client(str(address), family="AF_UNIX") as connection:
            assert connection.recv_bytes() == b""
            for message in messages:
                connection.send_bytes(message)
    refuse(SMALL)
    assert judges(address) == before


def test_nobody_else_may_ask(address: Path) -> None:
    """The sockets are for the user that judges are run as."""
    for path in (address, Path(remote.large_address(str(address)))):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_judges_end_with_the_process_they_are_forked_from(tmp_path: Path) -> None:
    """However it ends, none is left behind."""
    with judges_at(tmp_path / "judge.sock") as address:
        assert comes_true(lambda: len(judges(address)) == COUNT)
        left = [psutil.Process(pid) for pid in judges(address)]
        main_of(address).kill()
    assert comes_true(lambda: not any(map(is_there, left)))
