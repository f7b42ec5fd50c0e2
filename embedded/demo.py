"""`make demo`: trains, deploys and checks predictions on a throwaway stack."""

import os
import secrets
import shutil
from pathlib import Path

import psutil

from embedded import deployment
from embedded.datadir import DataDir
from embedded.display import Display
from embedded.errors import EmbeddedError
from embedded.processes import orphans
from embedded.services import mlflow_server
from embedded.settings import Settings
from embedded.stack import opened
from embedded.step_times import StepTimes

_PREFIX = "demo-"


def run(settings: Settings) -> int:
    """Runs the demo; returns the scenarios' exit code. After an error the logs stay: its message names one."""
    _forget_dead_demos(settings.home)
    path = settings.home / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(3)}"
    try:
        code = _demo(path)
    except EmbeddedError:
        _forget(path, keep_logs=True)
        raise
    except BaseException:
        _forget(path)
        raise
    _forget(path)
    return code


def _demo(path: Path) -> int:
    with Display() as display:
        step_times = StepTimes(display.show)
        step_times.begin("all")
        with opened(path, step_times=step_times, throwaway=True) as stack:
            stack.wait_ready(mlflow_server.NAME)
            stack.step("training", "signet-train")
            deployment.wait(stack)
            display.pause()
            step_times.begin("scenarios")
            code = stack.job("scenarios", "signet", "scenarios", show=True)
            step_times.end("scenarios", f"exit code {code}")
            step_times.begin("stopping")
        step_times.end("stopping")
        step_times.end("all")
    return code


def _forget(path: Path, *, keep_logs: bool = False) -> None:
    for entry in path.glob("*") if keep_logs else [path]:
        if entry.is_dir() and entry != DataDir(path).logs:
            shutil.rmtree(entry, ignore_errors=True)


def _forget_dead_demos(home: Path) -> None:
    """Ends and deletes what killed demos left. A running demo's pid is in its folder's name, and it holds the lock."""
    for path in home.glob(f"{_PREFIX}*-*"):
        alive = psutil.pid_exists(int(path.name.split("-")[1]))
        if not alive and not DataDir(path).is_locked():
            orphans.end(path.resolve())
            _forget(path)
