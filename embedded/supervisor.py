"""Keeps a stack in the background until a signal ends it, and writes down how it is."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from embedded import deployment, http, ports
from embedded.datadir import DataDir
from embedded.errors import EmbeddedError
from embedded.interruption import Interrupted
from embedded.restarter import Restarter
from embedded.services import mlflow_server
from embedded.settings import Settings
from embedded.stack import Stack, opened, serving, whole
from embedded.step_times import StepTimes

_CHECK_S = 0.5
_REGISTRY_TIMEOUT_S = 60.0
WAYS = UP, SERVE = "up", "serve"


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
    places = [DataDir(settings.home / each) for each in ([way] if way else WAYS)]
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
        if way == UP:
            wishes["mlflow"] = ports.wished("MLFLOW_PORT", settings.mlflow_port)
        with opened(place.path, wishes, step_times, parts=whole if way == UP else serving(settings.registry)) as stack:
            if way == UP:
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
