"""A service and the process that runs it."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL, SIGTERM, SIGUSR1

_SHIM = Path(__file__).with_name("shim.py")


@dataclass(frozen=True)
class Service:
    """What to run, and how to know that it answers."""

    name: str
    command: tuple[str, ...]
    log: Path
    cwd: Path
    ready: Callable[[], bool] = lambda: True
    env: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    stop_signal: int = SIGTERM
    is_killable: bool = True  # whether SIGKILL leaves nothing behind outside of its folder
    grace_s: float = 10.0
    niceness: int = 5  # predictions go first: this halves their p99 during forty rollouts at once
    ready_timeout_s: float = 90.0


class Process:
    """A running service under its shim, in a session of its own: a Ctrl-C in the terminal does not reach it."""

    def __init__(self, service: Service, env: Mapping[str, str], *, inherit_output: bool = False) -> None:
        self.service = service
        self.asked_to_stop = False
        how = (int(service.stop_signal), service.grace_s, service.niceness)
        shim = (sys.executable, "-I", "-S", str(_SHIM), *map(str, how))
        if service.log.exists():
            service.log.replace(service.log.with_suffix(".log.1"))
        with service.log.open("wb") as log:
            output = None if inherit_output else log
            self._popen = subprocess.Popen(
                [*shim, *service.command],
                cwd=service.cwd,
                env={**env, **service.env},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=None if inherit_output else subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def poll(self) -> int | None:
        """Exit code, 128 + n for a signal n; None while it runs."""
        return self._popen.poll()

    def ask_to_stop(self, *, kill: bool = False) -> None:
        """Begins to stop the service, and returns at once."""
        self.asked_to_stop = True
        if kill:
            self._popen.send_signal(SIGUSR1)
        if self._popen.stdin:
            self._popen.stdin.close()

    def stop(self) -> None:
        """Stops the service; returns when it and its descendants are gone."""
        self.ask_to_stop()
        self._wait(self.service.grace_s + 5)

    def kill(self) -> None:
        """As `stop`, by SIGKILL at once."""
        self.ask_to_stop(kill=True)
        self._wait(5)

    def _wait(self, timeout_s: float) -> None:
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._popen.send_signal(SIGKILL)
            self._popen.wait()
