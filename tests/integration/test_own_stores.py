"""A PostgreSQL and an S3 store of one's own in place of the stack's: here those of the stack that the suite has up."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from compose_stack import PROJECT

from testing.ports import free_port
from testing.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from compose_stack import ComposeStack

pytestmark = pytest.mark.compose

# Nobody else's stores are in reach of a test; these two are reached by their networks.
_NETWORKS = """
networks:
  database: {{name: {project}_database, external: true}}
  artifacts: {{name: {project}_artifacts, external: true}}
"""


@pytest.fixture
def own(compose: ComposeStack, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Run `docker compose` for a second stack, whose stores are somebody else's."""
    networks, empty = tmp_path / "networks.yml", tmp_path / "empty.env"
    networks.write_text(_NETWORKS.format(project=PROJECT), "utf-8")
    empty.touch()
    secrets = {
        "POSTGRES_PASSWORD": compose.secret("postgres", "mlflow_password"),
        "AWS_SECRET_ACCESS_KEY": compose.secret("minio", "mlflow_secret_key"),
    }
    settings = {
        "PGHOST": "postgres",
        "AWS_ACCESS_KEY_ID": "mlflow",
        "MLFLOW_S3_ENDPOINT_URL": "http://minio:9000",
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://mlflow/of-ones-own",
        "MLFLOW_PORT": str(free_port()),
        "TORCHSERVE_PORT": str(free_port()),
    }
    files = ("docker-compose.yml", "compose/own-postgres.yml", "compose/own-s3.yml", str(networks))
    options = ["-p", "signet-own", "--env-file", str(empty), *(word for file in files for word in ("-f", file))]

    def run(*args: str) -> str:
        done = subprocess.run(
            ["docker", "compose", *options, *args],
            cwd=ROOT,
            env={**os.environ, **settings, **secrets},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    try:
        yield run
    finally:
        run("down", "--volumes", "--timeout", "1")


def test_the_stack_on_stores_of_ones_own(own: Callable[..., str]) -> None:
    """MLflow's server comes up without the stack's stores, on the data that is there; artifacts go to the bucket."""
    assert own("config", "--services").split().count("postgres") == 0
    own("up", "--detach", "--wait", "mlflow-server")
    assert set(own("ps", "--services").split()) == {"mlflow-server"}
    ask = (
        "import mlflow; mlflow.set_tracking_uri('http://127.0.0.1:5000'); run = mlflow.start_run();"
        "mlflow.log_text('kept', 'note.txt'); print(mlflow.artifacts.load_text(run.info.artifact_uri + '/note.txt'),"
        "[model.name for model in mlflow.search_registered_models()])"
    )
    assert "kept ['iris_classification']" in own("exec", "-T", "mlflow-server", "python", "-c", ask).splitlines()
