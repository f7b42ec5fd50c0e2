"""A real server on loopback: SQLite and a folder stand in for Postgres and S3."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from testing.polling import answers, until_up
from testing.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Running = Callable[..., AbstractContextManager["RunningServer"]]


@dataclass(frozen=True)
class RunningServer:
    """The process and where it answers."""

    process: subprocess.Popen[bytes]
    url: str


@pytest.fixture(scope="session", params=["false", "true"], ids=["streaming", "plain"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Start `signet-mlflow-server` on an empty database, as the container does, with all that is clever or without."""
    with _running(tmp_path_factory.mktemp("mlflow"), SIGNET_PLAIN=request.param) as server:
        yield server


@pytest.fixture(scope="session")
def running() -> Running:
    """How a server with other settings is started."""
    return _running


@contextmanager
def _running(folder: Path, **more: str) -> Iterator[RunningServer]:
    """Start the server on what the folder holds."""
    port = free_port()
    env = os.environ | {
        "MLFLOW_PORT": str(port),
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
        **more,
    }
    log = folder / "server.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "signet_mlflow_server"], env=env, cwd=folder, stdout=stream, stderr=stream
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until_up(process, log, lambda: answers(f"{url}/health"))
        yield RunningServer(process, url)
    finally:
        process.kill()
        process.wait()
