"""`make up`, `serve`, `status`, `logs` and `down`: a stack in the background, as its supervisor says it is."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from embedded import http
from embedded.datadir import DataDir
from embedded.display import Display
from embedded.errors import EmbeddedError, InvalidSetting, SupervisorLost
from embedded.interruption import Interrupted
from embedded.processes import orphans
from embedded.settings import ROOT, Settings
from embedded.step_times import Step, StepTimes
from embedded.supervisor import SERVE, UP, WAYS, State, folder

_STOP_TIMEOUT_S = 40.0
_SUPERVISOR = "supervisor"


def up(settings: Settings) -> int:
    """Returns when the stack serves, started by this call or before."""
    return _start(settings, UP)


def serve(settings: Settings) -> int:
    """Returns when TorchServe alone follows the registry elsewhere, started by this call or before."""
    uri = settings.registry.get("MLFLOW_TRACKING_URI", "")
    if "://" not in uri:
        raise InvalidSetting(
            "MLFLOW_TRACKING_URI", uri, "the address of an MLflow server, such as https://ml.example.org/mlflow"
        )
    return _start(settings, SERVE)


def _start(settings: Settings, way: str) -> int:
    place = folder(settings, way)
    place.make()
    for other in set(WAYS) - {way}:
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
