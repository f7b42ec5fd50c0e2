"""`make up`, `serve`, `status`, `logs` and `down`: a stack in the background, and the supervisor that keeps it."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from embedded import deployment, http, ports
from embedded.datadir import DataDir
from embedded.display import Display
from embedded.errors import EmbeddedError, InvalidSetting, SupervisorLost
from embedded.interruption import Interrupted
from embedded.processes import orphans
from embedded.restarter import Restarter
from embedded.services import mlflow_server
from embedded.settings import ROOT, Settings
from embedded.stack import Stack, opened, serving, whole
from embedded.step_times import Step, StepTimes

_CHECK_S = 0.5
_STOP_TIMEOUT_S = 40.0
_REGISTRY_TIMEOUT_S = 60.0
_SUPERVISOR = "supervisor"
_WAYS = _UP, _SERVE = "up", "serve"


@dataclass
class State:
    """What the supervisor tells `up`, `status` and the like: a file that it replaces as a whole."""

    phase: str = "starting"  # then up, and at last stopped or failed
    message: str = ""
    pid: int = 0
    created: float = 0.0
    mlflow: str = ""
    predictions: str = ""
    metrics: str = ""
    ready: str = ""  # where TorchServe alone says what it serves
    services: dict[str, int] = field(default_factory=dict)  # process group by name
    down: list[str] = field(default_factory=list)
    ends: dict[str, str] = field(default_factory=dict)
    steps: list[dict[str, object]] = field(default_factory=list)

    @staticmethod
    def file(folder: DataDir) -> Path:
        return folder.path / "state.json"

    def write(self, folder: DataDir) -> None:
        partial = self.file(folder).with_suffix(".new")
        partial.write_text(json.dumps(asdict(self)), encoding="utf-8")
        partial.replace(self.file(folder))

    @classmethod
    def read(cls, folder: DataDir) -> "State | None":
        try:
            return cls(**json.loads(cls.file(folder).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def supervisor(self) -> psutil.Process | None:
        """The process that wrote the state, if it still lives. By now another process may have its pid."""
        try:
            process = psutil.Process(self.pid)
        except psutil.NoSuchProcess:
            return None
        return process if abs(process.create_time() - self.created) < 1 else None


def folder(settings: Settings, way: str | None = None) -> DataDir:
    """Where `up` or `serve` (the `way`) keeps its stack; without a way, of the one that was started last."""
    places = [DataDir(settings.home / each) for each in ([way] if way else _WAYS)]
    return max(places, key=lambda place: State.file(place).stat().st_mtime if State.file(place).exists() else 0)


def supervise(settings: Settings, way: str) -> int:
    """Keeps the stack until a signal ends it. Runs detached; `up` or `serve` follows the state that it writes.

    If a service ends before the stack is up, the whole stack ends. A service that ends later is started again.
    """
    place = folder(settings, way)
    me = psutil.Process()
    state = State(pid=me.pid, created=me.create_time())
    written = 0.0

    def tell(step_times: StepTimes) -> None:
        nonlocal written
        steps = [asdict(step) for step in step_times.steps]
        if steps != state.steps or (state.phase == "starting" and time.monotonic() - written > 1):
            state.steps, written = steps, time.monotonic()
            state.write(place)

    step_times = StepTimes(tell)
    try:
        wishes = {"inference": ports.wished("TORCHSERVE_PORT", settings.torchserve_port)}
        if way == _UP:
            wishes["mlflow"] = ports.wished("MLFLOW_PORT", settings.mlflow_port)
        with opened(place.path, wishes, step_times, parts=whole if way == _UP else serving(settings.registry)) as stack:
            if way == _UP:
                _bring_up(stack, state)
            else:
                _bring_up_alone(stack, state, settings.registry["MLFLOW_TRACKING_URI"])
            state.phase = "up"
            restarter = Restarter(stack)
            while True:
                restarter.look()
                _tell_services(stack, restarter, state)
                time.sleep(_CHECK_S)
    except EmbeddedError as error:
        state.phase, state.message = "failed", str(error)
    except Interrupted as error:
        state.phase, state.message = "stopped", str(error)
    state.write(place)
    return 0 if state.phase == "stopped" else 1


def _bring_up(stack: Stack, state: State) -> None:
    stack.wait_ready(mlflow_server.NAME)
    stack.step("training", "signet-train", "--skip_if_champion")
    stack.wait_ready()
    deployment.wait(stack)
    state.mlflow, state.predictions = stack.urls.mlflow, deployment.url(stack)
    state.metrics = f"{stack.urls.metrics}/metrics"


def _bring_up_alone(stack: Stack, state: State, mlflow: str) -> None:
    """Returns when TorchServe has asked the registry, or after a while. `/ready` tells what it has heard."""
    stack.wait_ready()
    stack.step_times.begin("registry")
    state.ready = f"{stack.urls.health}/ready"
    stack.wait(lambda: "not asked yet" not in str(http.ask(state.ready)), _REGISTRY_TIMEOUT_S)
    stack.step_times.end("registry")
    parts = urlsplit(mlflow)
    state.mlflow = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # a password is for nobody's eyes
    state.predictions = f"{stack.urls.torchserve}/predictions/NAME"
    state.metrics = f"{stack.urls.metrics}/metrics"


def _tell_services(stack: Stack, restarter: Restarter, state: State) -> None:
    before = asdict(state)
    state.services = {name: stack.pid(name) for name in stack.names}
    state.down = [name for name in stack.names if not stack.is_ready(name)]
    state.ends = restarter.ends
    if asdict(state) != before:
        state.write(stack.folder)


def up(settings: Settings) -> int:
    """Returns when the stack serves, started by this call or before."""
    return _start(settings, _UP)


def serve(settings: Settings) -> int:
    """Returns when TorchServe alone follows the registry elsewhere, started by this call or before."""
    uri = settings.registry.get("MLFLOW_TRACKING_URI", "")
    if "://" not in uri:
        raise InvalidSetting(
            "MLFLOW_TRACKING_URI", uri, "the address of an MLflow server, such as https://ml.example.org/mlflow"
        )
    return _start(settings, _SERVE)


def _start(settings: Settings, way: str) -> int:
    place = folder(settings, way)
    place.make()
    for other in set(_WAYS) - {way}:
        if folder(settings, other).is_locked():
            raise EmbeddedError(f"`make {other}` is running: `make down` stops it")
    if place.is_locked():
        state = State.read(place)
        if state and state.phase == "up":
            print("already up:")
            print(_addresses(state))
            return 0
        print(f"another `make {way}` is starting it:")
        supervisor = None
    else:
        State.file(place).unlink(missing_ok=True)
        with place.log(_SUPERVISOR).open("wb") as log:
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "embedded", "supervise", way],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    try:
        state = _follow(place, supervisor)
    except Interrupted:
        if supervisor:
            down(settings)
        raise
    if state.phase != "up":
        if supervisor:
            supervisor.wait(_STOP_TIMEOUT_S)  # it has stopped its services already
        raise EmbeddedError(state.message)
    print(_addresses(state))
    return 0


def _follow(place: DataDir, supervisor: "subprocess.Popen[bytes] | None") -> State:
    """Shows the steps until the stack is up or has failed."""
    with Display() as display:
        step_times = StepTimes(display.show)
        while True:
            gone = supervisor.poll() is not None if supervisor else not place.is_locked()
            state = State.read(place)
            if state:
                step_times.steps = [Step(**step) for step in state.steps]  # type: ignore[arg-type]  # as asdict() made them
                step_times.tick()
                if state.phase != "starting":
                    return state
            if gone:
                raise SupervisorLost(place.log_end(_SUPERVISOR))
            time.sleep(0.1)


def _addresses(state: State) -> str:
    last = f"  try it:      curl {state.predictions} -T sample.json"
    if state.ready:
        answer = http.ask(state.ready, timeout_s=5)
        last = f"  it says:     {json.loads(answer.body)['message'] if answer else 'nothing, it does not answer'}"
    return f"  MLflow       {state.mlflow}\n  predictions  {state.predictions}\n  metrics      {state.metrics}\n{last}"


def status(settings: Settings) -> int:
    """Prints what runs; returns 0 only if everything runs."""
    place = folder(settings)
    state = State.read(place)
    if not place.is_locked():
        if state and state.phase == "failed":
            print(f"not up: {state.message}")
        elif state and state.phase != "stopped":
            print("not up: its supervisor was killed")
        else:
            print("not up")
        return 1
    if state is None or state.phase != "up":
        print("starting" if state is None or state.phase == "starting" else "stopping")
        return 1
    print(f"up since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(state.created))}:")
    print(_addresses(state))
    for name, pid in state.services.items():
        what = "is started again" if name in state.down else f"process group {pid}"
        ended = f", {state.ends[name]}" if name in state.ends else ""
        print(f"  {name:<14} {what}{ended}, log {place.log(name)}")
    return 1 if state.down else 0


def logs(settings: Settings, name: str | None, *, follow: bool) -> int:
    """Prints every log's end, or one service's; with `follow` also new lines, until interrupted."""
    place = folder(settings)
    known = sorted(path.stem for path in place.logs.glob("*.log"))
    if name is not None and name not in known:
        raise EmbeddedError(f"no log of {name!r}: there are {', '.join(known) or 'none yet'}")
    for each in [name] if name else known:
        print(f"=== {each} ({place.log(each)})\n{place.tail(each, 50 if name else 10)}")
    if follow:
        _follow_logs({each: place.log(each) for each in ([name] if name else known)})
    return 0


def _follow_logs(paths: dict[str, Path]) -> None:
    ends = {each: path.stat().st_size for each, path in paths.items()}
    while True:
        for each, path in paths.items():
            size = path.stat().st_size if path.exists() else 0
            if size > ends[each]:
                with path.open("rb") as file:
                    file.seek(ends[each])
                    for line in file.read().decode(errors="replace").splitlines():
                        print(line if len(paths) == 1 else f"{each}: {line}", flush=True)
            ends[each] = size
        time.sleep(0.2)


def down(settings: Settings) -> int:
    """Stops the stack; returns when nothing of it runs any more."""
    place = folder(settings)
    state = State.read(place)
    supervisor = state.supervisor() if state else None
    if not place.is_locked() or supervisor is None:
        ended = orphans.end(place.path)
        print(f"ended {ended} processes that outlived their supervisor" if ended else "not up")
        return 0
    supervisor.send_signal(signal.SIGTERM)
    try:
        supervisor.wait(_STOP_TIMEOUT_S)
    except psutil.TimeoutExpired:
        supervisor.kill()
        orphans.end(place.path)
    print(f"down; the data stays in {os.path.relpath(place.path)}")
    return 0
