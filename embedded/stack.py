"""A stack of services: starts them in the order of their needs, watches them, and stops them all."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from embedded import ports, socket_folder
from embedded.datadir import DataDir
from embedded.errors import JobFailed, ServiceDied, ServiceNotReady
from embedded.processes import orphans
from embedded.processes.service import Process, Service
from embedded.services import mlflow_server, postgres, seaweedfs, torchserve
from embedded.settings import ROOT, clean_environment
from embedded.step_times import StepTimes

_PAUSE_S = 0.1
_NOTE_CHARS = 70  # of a running job's last line are shown
# Groups of services that stop together. A group stops when those before it are gone: they may still write to it.
_STOP_ORDER = ((torchserve.NAME, mlflow_server.NAME), (seaweedfs.NAME, postgres.NAME))


@dataclass(frozen=True)
class Urls:
    """Where clients go."""

    mlflow: str
    torchserve: str
    metrics: str
    health: str


class Stack:
    """Services of one folder. Every method first raises ServiceDied if one ended without having been asked to.

    The folder `short` is their TMPDIR, unless a service has its own.
    """

    def __init__(
        self, folder: DataDir, addresses: dict[str, int], services: list[Service], step_times: StepTimes, short: Path
    ) -> None:
        self.folder = folder
        self.addresses = addresses
        self.step_times = step_times
        names = ("mlflow", "inference", "metrics", "health")
        self.urls = Urls(*(f"http://127.0.0.1:{addresses[name]}" for name in names))
        self._marked = {**clean_environment(), **orphans.mark(folder.path), "TMPDIR": str(short)}
        self.env = {**self._marked, "MLFLOW_TRACKING_URI": self.urls.mlflow, "SIGNET_URL": self.urls.torchserve}
        self._services = {service.name: service for service in services}
        self._waiting = list(self._services)
        self._starting: dict[str, float] = {}
        self._ready: set[str] = set()
        self._processes: dict[str, Process] = {}

    @property
    def names(self) -> list[str]:
        return list(self._services)

    def pid(self, name: str) -> int:
        """Pid of the service's shim, which is also its process group and session."""
        return self._processes[name].pid

    def log(self, name: str) -> Path:
        return self.folder.log(name)

    def check(self) -> None:
        """Raises ServiceDied if a service ended that nobody stopped."""
        for name, process in self._processes.items():
            code = process.poll()
            if code is not None and not process.asked_to_stop:
                process.ask_to_stop()
                self._ready.discard(name)
                self._starting.pop(name, None)
                raise ServiceDied(name, code, self.folder.log_end(name))

    def advance(self) -> None:
        """Starts the services whose needs are ready, and notes which services have become ready."""
        for name in [name for name in self._waiting if self._ready.issuperset(self._services[name].needs)]:
            self._waiting.remove(name)
            self._starting[name] = time.monotonic()
            self.step_times.begin(name)
            self._processes[name] = Process(self._services[name], self._marked)
        self.check()
        for name, began in list(self._starting.items()):
            service = self._services[name]
            if service.ready():
                del self._starting[name]
                self._ready.add(name)
                self.step_times.end(name)
            elif time.monotonic() - began > service.ready_timeout_s:
                del self._starting[name]
                self._processes[name].kill()
                raise ServiceNotReady(name, service.ready_timeout_s, self.folder.log_end(name))
        self.step_times.tick()

    def wait(self, condition: Callable[[], bool], timeout_s: float = float("inf")) -> bool:
        """Keeps the stack going until the condition holds. Returns False if the time was up first."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.advance()
            if condition():
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE_S)

    def wait_ready(self, *names: str) -> None:
        """Returns when these services, or all, answer; each has its own time limit."""
        wanted = set(names or self._services)
        self.wait(lambda: wanted <= self._ready)

    def job(self, name: str, *command: str, show: bool = False, on_tick: Callable[[], object] = lambda: None) -> int:
        """Runs a command; returns its exit code. Its output goes to its log or, with `show`, to the terminal."""
        service = Service(name, (_executable(command[0]), *command[1:]), self.log(name), ROOT)
        process = Process(service, self.env, inherit_output=show)

        def ended() -> bool:
            on_tick()
            return process.poll() is not None

        try:
            self.wait(ended)
        finally:
            process.stop()
        return process.poll() or 0

    def step(self, name: str, *command: str) -> None:
        """Runs a command as a step with its times. Raises JobFailed if the command fails."""
        self.step_times.begin(name)
        code = self.job(
            name, *command, on_tick=lambda: self.step_times.note(name, self.folder.last_line(name)[:_NOTE_CHARS])
        )
        if code:
            raise JobFailed(name, code, self.folder.log_end(name))
        self.step_times.end(name)

    def run(self, *command: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """For tests: the command's exit code and output, with the stack's environment."""
        self.check()
        return subprocess.run(
            [_executable(command[0]), *command[1:]],
            env={**self.env, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
        )

    def stop(self, name: str) -> None:
        self._gone(name)
        self._processes[name].stop()

    def kill(self, name: str) -> None:
        self._gone(name)
        self._processes[name].kill()

    def start(self, name: str) -> None:
        """Starts a stopped or killed service; returns when it answers."""
        if self._processes[name].poll() is None:
            return
        self.start_again(name)
        self.wait_ready(name)

    def start_again(self, name: str) -> None:
        """Lets a service that ended be started by the next looks; returns at once."""
        self._waiting.append(name)

    def is_ready(self, name: str) -> bool:
        """Whether the service has answered, and has not ended since."""
        return name in self._ready

    def _gone(self, name: str) -> None:
        self.check()
        self._ready.discard(name)
        self._starting.pop(name, None)

    def close(self, *, kill: bool = False) -> None:
        """Stops every service, whatever state it is in; with `kill`, by SIGKILL and without regard for the data."""
        for group in _STOP_ORDER:
            processes = [process for name, process in self._processes.items() if name in group]
            for process in processes:
                process.ask_to_stop(kill=kill and process.service.is_killable)
            for process in processes:
                process.stop()
        orphans.end(self.folder.path)


def _executable(name: str) -> str:
    """This Python's command of that name, if it has one."""
    own = Path(sys.executable).with_name(name)
    return str(own) if own.exists() else name


def _addresses(folder: DataDir, wishes: Mapping[str, int]) -> dict[str, int]:
    """A port for every socket. The ones inside stay the same from run to run where they can."""
    names = [postgres.NAME, *seaweedfs.PORTS, "mlflow", *torchserve.PORTS]
    file = folder.path / "ports.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    chosen = {**ports.free([name for name in names if name not in wishes], before), **wishes}
    file.write_text(json.dumps(chosen), encoding="utf-8")
    return chosen


Parts = Callable[[DataDir, dict[str, int], Path, bool], list[Service]]
"""Which services a stack has, on these ports; the last argument says whether it is a throwaway one."""


def stores(folder: DataDir, addresses: dict[str, int], short: Path, throwaway: bool) -> list[Service]:  # noqa: FBT001 -- as the settings have it
    """The database and the S3 store alone."""
    return [
        postgres.service(folder, addresses[postgres.NAME], throwaway=throwaway),
        seaweedfs.service(folder, addresses, short),
    ]


def whole(folder: DataDir, addresses: dict[str, int], short: Path, throwaway: bool) -> list[Service]:  # noqa: FBT001 -- as the settings have it
    """The whole stack's services."""
    env = {**postgres.env(folder, addresses[postgres.NAME]), **seaweedfs.env(folder, addresses["s3"])}
    registry = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{addresses['mlflow']}"}
    return [
        *stores(folder, addresses, short, throwaway),
        torchserve.service(folder, addresses, registry),
        mlflow_server.service(folder, addresses["mlflow"], env),
    ]


def serving(registry: Mapping[str, str]) -> Parts:
    """TorchServe alone, at the MLflow server elsewhere to which these variables lead."""
    return lambda folder, addresses, *_: [torchserve.service(folder, addresses, registry)]


@contextmanager
def opened(
    path: Path,
    wishes: Mapping[str, int] | None = None,
    step_times: StepTimes | None = None,
    *,
    throwaway: bool = False,
    parts: Parts = whole,
) -> Iterator[Stack]:
    """A stack of which nothing runs yet; `wait_ready` starts it. Holds the folder's lock, and stops all at the end.

    A throwaway stack is faster, because its data may be lost: it does not wait for the disk, and is killed at the end.
    """
    folder, step_times = DataDir(path), step_times or StepTimes()
    folder.make()
    with folder.locked():
        orphans.end(folder.path)
        addresses = _addresses(folder, wishes or {})
        short = socket_folder.begin(folder.path, *seaweedfs.sockets(addresses))
        stack = Stack(folder, addresses, parts(folder, addresses, short, throwaway), step_times, short)
        try:
            yield stack
        except BaseException:
            step_times.fail()
            raise
        finally:
            stack.close(kill=throwaway)


@contextmanager
def running(path: Path) -> Iterator[Stack]:
    """A stack whose services all answer, on free ports; nothing is trained."""
    with opened(path) as stack:
        stack.wait_ready()
        yield stack
