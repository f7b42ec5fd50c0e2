"""The MLflow server as a process."""

import sys
from collections.abc import Mapping
from pathlib import Path

from embedded import http
from embedded.datadir import DataDir
from embedded.processes.service import Service
from embedded.services import postgres, seaweedfs

NAME = "mlflow-server"


def service(folder: DataDir, port: int, env: Mapping[str, str]) -> Service:
    """`signet-mlflow-server` on the stack's database and store, which the variables `env` name."""
    url = f"http://127.0.0.1:{port}"
    return Service(
        name=NAME,
        command=(str(Path(sys.executable).with_name("signet-mlflow-server")),),
        log=folder.log(NAME),
        cwd=folder.sub(NAME),
        env={**env, "MLFLOW_HOST": "127.0.0.1", "MLFLOW_PORT": str(port), "TMPDIR": str(folder.sub(NAME))},
        needs=(postgres.NAME, seaweedfs.NAME),
        ready=lambda: http.answers(f"{url}/health"),
    )
