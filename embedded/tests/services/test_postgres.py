import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import make_dsn

from embedded import ports
from embedded.datadir import DataDir
from embedded.services import postgres
from embedded.stack import Stack
from embedded.step_times import StepTimes


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL alone."""
    folder = DataDir(tmp_path_factory.mktemp("stack"))
    folder.make()
    addresses = ports.free(["postgres", "mlflow", "inference", "metrics", "health"])
    made = Stack(
        folder, addresses, [postgres.service(folder, addresses["postgres"], throwaway=True)], StepTimes(), folder.path
    )
    try:
        made.wait_ready()
        yield made
    finally:
        made.close(kill=True)


def ask(stack: Stack, sql: str, **identity: str) -> Any:
    """First value of the answer."""
    wanted = {"user": "mlflow", "dbname": "mlflow", "password": stack.folder.key("postgres-password"), **identity}
    connection = psycopg2.connect(make_dsn(host="127.0.0.1", port=stack.addresses["postgres"], **wanted))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return next(iter(cursor))[0]
    finally:
        connection.close()


def test_the_role_is_no_superuser(stack: Stack) -> None:
    """MLflow's role owns its database and nothing more."""
    assert ask(stack, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False


@pytest.mark.parametrize(
    "identity", [{"password": "wrong"}, {"user": "postgres", "dbname": "postgres"}, {"dbname": "postgres"}]
)
def test_nobody_else_gets_in(stack: Stack, identity: dict[str, str]) -> None:
    """Neither without the password, nor the superuser, nor into another database."""
    with pytest.raises(psycopg2.OperationalError):
        ask(stack, "SELECT 1", **identity)


def test_password_is_in_no_command_line_and_no_log(stack: Stack) -> None:
    """The password stands in files that only this user reads."""
    password = stack.folder.key("postgres-password")
    assert password not in stack.log("postgres").read_text(encoding="utf-8")
    assert not list(stack.folder.path.glob("postgres/setup.sql"))
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert password.encode() not in file.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue


def test_data_outlives_a_kill(stack: Stack) -> None:
    """What was committed is there after SIGKILL, and the first start's work is not done again."""
    ask(stack, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7); SELECT n FROM kept")
    stack.kill("postgres")
    stack.start("postgres")
    assert ask(stack, "SELECT n FROM kept") == 7


def test_half_made_cluster_is_made_anew(tmp_path: Path) -> None:
    """What an interrupted first start left behind does not stop the next one."""
    folder = DataDir(tmp_path)
    folder.make()
    (folder.sub("postgres") / "data.new").mkdir()
    (folder.sub("postgres") / "data.new" / "PG_VERSION").write_text("18", encoding="ascii")
    addresses = ports.free(["postgres", "mlflow", "inference", "metrics", "health"])
    stack = Stack(
        folder, addresses, [postgres.service(folder, addresses["postgres"], throwaway=True)], StepTimes(), folder.path
    )
    try:
        stack.wait_ready()
    finally:
        stack.close(kill=True)


@pytest.mark.skipif(sys.platform != "linux", reason="who has shared memory stands in /proc")
def test_a_throwaway_leaves_no_shared_memory(tmp_path: Path) -> None:
    """It is ended in no time, but not killed: what it shares with its children would stay for good."""
    folder = DataDir(tmp_path)
    folder.make()
    addresses = ports.free(["postgres", "mlflow", "inference", "metrics", "health"])
    service = postgres.service(folder, addresses["postgres"], throwaway=True)
    stack = Stack(folder, addresses, [service], StepTimes(), folder.path)
    try:
        stack.wait_ready()
        lines = (tmp_path / "postgres" / "data" / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        (number,) = {line.split()[1] for line in lines if len(line.split()) == 2}  # key and number of the segment
        assert number in _shared_memory()
    finally:
        began = time.monotonic()
        stack.close(kill=True)
    assert number not in _shared_memory()
    assert time.monotonic() - began < 5


def _shared_memory() -> list[str]:
    return [line.split()[1] for line in Path("/proc/sysvipc/shm").read_text(encoding="utf-8").splitlines()]
