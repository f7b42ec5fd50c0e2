"""An upgrade of MLflow: what the minor version before has made is served by the one that is locked."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import mlflow
import pytest
import requests

from embedded.services import mlflow_server, postgres, seaweedfs
from embedded.stack import Stack, opened, running, stores
from testing.polling import until

if TYPE_CHECKING:
    from pathlib import Path

    from embedded.datadir import DataDir
    from embedded.processes.service import Service

pytestmark = pytest.mark.embedded

PARTS = ("mlflow", "mlflow-skinny", "mlflow-tracing")
_MAKE = """
import mlflow, torch
from mlflow.models import infer_signature

class Total(torch.nn.Module):
    def forward(self, rows):
        return rows.sum(dim=1)

rows = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
signature = infer_signature(rows.numpy(), rows.sum(dim=1).numpy())
with mlflow.start_run() as run:
    mlflow.log_metric("loss", 0.5)
    mlflow.pytorch.log_model(Total().eval(), name="model", registered_model_name="total", signature=signature,
                             input_example=rows.numpy(), pip_requirements=["torch"])
mlflow.MlflowClient().set_registered_model_alias("total", "champion", "1")
print(mlflow.__version__, run.info.run_id)
"""


@pytest.fixture
def older(tmp_path: Path) -> tuple[str, Path]:
    """The minor version before the locked one, and the folder in which it lies without what it needs."""
    major, minor, *_ = version("mlflow").split(".")
    before, folder = f"{major}.{int(minor) - 1}.", tmp_path / "older"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    wanted = [f"{part}=={before}*" for part in PARTS]
    subprocess.run([*install, "--target", str(folder), *wanted], capture_output=True, check=True, timeout=300)
    return before, folder


def _make(stack: Stack, folder: Path) -> list[str]:
    """Log a model by the older version; its exact number and the run."""
    made = stack.run("python", "-c", _MAKE, env={"PYTHONPATH": str(folder)})
    assert made.returncode == 0, made.stderr
    return made.stdout.split()[-2:]


def test_what_an_older_mlflow_has_made_is_served(older: tuple[str, Path], tmp_path: Path) -> None:
    """Database and bucket of its server, brought up to date at the start: run, model and alias; and it predicts."""
    before, folder = older

    def parts(place: DataDir, addresses: dict[str, int], short: Path, throwaway: bool) -> list[Service]:
        ways = {**postgres.env(place, addresses[postgres.NAME]), **seaweedfs.env(place, addresses["s3"])}
        server = mlflow_server.service(place, addresses["mlflow"], {**ways, "PYTHONPATH": str(folder)})
        return [*stores(place, addresses, short, throwaway), server]

    with opened(tmp_path / "stack", parts=parts) as stack:
        stack.wait_ready()
        assert requests.get(f"{stack.urls.mlflow}/version", timeout=10).text.startswith(before)
        number, run = _make(stack, folder)
        assert number.startswith(before)

    with running(tmp_path / "stack") as stack:
        assert requests.get(f"{stack.urls.mlflow}/version", timeout=10).text == mlflow.__version__
        assert mlflow.MlflowClient(stack.urls.mlflow).get_run(run).data.metrics == {"loss": 0.5}
        url = f"{stack.urls.torchserve}/predictions/total"
        body = json.dumps({"inputs": [[1.0, 2.0]]})
        headers = {"Content-Type": "application/json"}
        answer = until("it is served", lambda: _ok(requests.post(url, body, headers=headers, timeout=10)), timeout_s=60)
        assert answer.json() == {"predictions": [3.0]}


def _ok(answer: requests.Response) -> requests.Response | None:
    return answer if answer.ok else None
