import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from testing.polling import until

SHIM = Path(__file__).parents[2] / "processes" / "shim.py"
ELSEWHERE = f"""
import sys
sys.path.append({str(SHIM.parents[2])!r})
from embedded.processes import os_compat, shim
os_compat.IS_LINUX = False
sys.exit(shim.main(sys.argv[1:]))
"""


@pytest.fixture(params=["Linux", "elsewhere"])
def program(request: pytest.FixtureRequest) -> list[str]:
    """A shim as it runs on Linux, and as it runs where Linux' own ways are not there."""
    return [str(SHIM)] if request.param == "Linux" else ["-c", ELSEWHERE]


@contextmanager
def shim(
    program: list[str], *command: str, stop_signal: int = signal.SIGTERM, grace_s: float = 5, niceness: int = 0
) -> Iterator[subprocess.Popen[bytes]]:
    settings = [str(int(stop_signal)), str(grace_s), str(niceness)]
    arguments = [sys.executable, "-I", "-S", *program, *settings, *command]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def pid_in(file: Path) -> int:
    until("the process id is there", lambda: file.exists() and file.read_text().strip() != "")
    return int(file.read_text())


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)])
def test_exit_code(program: list[str], script: str, code: int) -> None:
    """The shim ends as its command did, by a shell's convention."""
    with shim(program, "sh", "-c", script) as process:
        assert process.wait(10) == code


def test_unknown_command(program: list[str]) -> None:
    """A command that cannot be run is one line and 127."""
    with shim(program, "/no/such/command") as process:
        assert process.wait(10) == 127
        assert process.stderr is not None
        assert process.stderr.read() == b"cannot run /no/such/command: No such file or directory\n"


def test_niceness(program: list[str], tmp_path: Path) -> None:
    """The command gives way to others, and so does its session where the kernel shares the machine among sessions."""
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    group = Path("/proc/self/autogroup")
    with shim(program, "sh", "-c", f"(nice; cat {group}) > {tmp_path}/told", niceness=5) as process:
        process.wait(10)
    told = (tmp_path / "told").read_text().split()
    assert told[0] == str(min(ours + 5, 19))
    assert not group.exists() or told[-1] == "5"


def test_stops_when_the_supervisor_is_gone(program: list[str], tmp_path: Path) -> None:
    """The end of the pipe brings the command's own stop signal."""
    script = (
        f"trap 'echo stopped > {tmp_path}/stopped; exit 3' INT; echo $$ > {tmp_path}/pid; while :; do sleep 0.05; done"
    )
    with shim(program, "sh", "-c", script, stop_signal=signal.SIGINT) as process:
        pid_in(tmp_path / "pid")
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 3
    assert (tmp_path / "stopped").exists()


def test_kills_after_the_grace_time(program: list[str], tmp_path: Path) -> None:
    """A command that ignores its stop signal is killed when the grace time is over."""
    script = f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.05; done"
    with shim(program, "sh", "-c", script, grace_s=0.3) as process:
        pid_in(tmp_path / "pid")
        process.terminate()
        assert process.wait(10) == 137


def test_descendants(program: list[str], tmp_path: Path) -> None:
    """What the command leaves running ends with it."""
    with shim(program, "sh", "-c", f"sh -c 'echo $$ > {tmp_path}/pid; sleep 60' & sleep 0.3") as process:
        pid = pid_in(tmp_path / "pid")
        assert process.wait(10) == 0
    assert gone(pid)


def test_descendants_in_sessions_of_their_own(tmp_path: Path) -> None:
    """Nothing that the command started outlives it, not even what left its session and its parent."""
    script = f"setsid sh -c 'echo $$ > {tmp_path}/pid; sleep 60' & until [ -s {tmp_path}/pid ]; do sleep 0.05; done"
    with shim([str(SHIM)], "sh", "-c", script) as process:
        pid = pid_in(tmp_path / "pid")
        assert process.wait(10) == 0
    assert gone(pid)


def test_kill_at_once(program: list[str], tmp_path: Path) -> None:
    """SIGUSR1 skips the stop signal and the grace time."""
    script = (
        f"trap 'echo stopped > {tmp_path}/stopped; exit' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.05; done"
    )
    with shim(program, "sh", "-c", script) as process:
        pid = pid_in(tmp_path / "pid")
        process.send_signal(signal.SIGUSR1)
        assert process.wait(10) == 137
    assert gone(pid)
    assert not (tmp_path / "stopped").exists()


def test_killed_shim(tmp_path: Path) -> None:
    """A shim that is killed itself takes its command with it."""
    with shim([str(SHIM)], "sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 60") as process:
        pid = pid_in(tmp_path / "pid")
        process.kill()
        process.wait(10)
        until("the process is gone", lambda: gone(pid), interval_s=0.02)
