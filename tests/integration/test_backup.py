"""The containers' data: backed up while they run, lost, and put back; and what else may be lost with a volume."""

from __future__ import annotations

import hashlib
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import TYPE_CHECKING

import mlflow
import pytest
import requests
from compose_stack import PROJECT

from embedded import backup
from embedded.errors import EmbeddedError
from embedded.settings import Settings
from embedded.stack import opened, stores, whole
from testing.docker import docker
from testing.polling import until
from testing.repository import ALIAS, MODEL, SAMPLES
from testing.repository_command import output_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose_stack import ComposeStack
    from mlflow import MlflowClient

pytestmark = pytest.mark.compose

_SUPERUSER = r"""\set new `cat /run/secrets/postgres/superuser_password`
ALTER ROLE postgres PASSWORD :'new';
"""
# As a newer MLflow's table would: it keeps those of the backup from being dropped one by one.
_LATER = "CREATE TABLE made_later (run varchar(32) REFERENCES runs)"
_IS_LATER = "SELECT to_regclass('made_later') IS NOT NULL"


@dataclass(frozen=True)
class Saved:
    """A backup, and what MLflow had when it was made."""

    folder: Path
    content: dict[str, object]


@pytest.fixture(scope="module")
def saved(compose: ComposeStack, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """A backup of the stack while it runs."""
    folder = tmp_path_factory.mktemp("backup") / "saved"
    content = _content(compose.mlflow_url)
    _script(compose, "backup", folder)
    assert {file.name: file.stat().st_mode & 0o777 for file in (folder, *folder.iterdir())} == {
        "saved": 0o700,
        "database": 0o600,
        "bucket.tar": 0o600,
    }
    return Saved(folder, content)


def _content(url: str) -> dict[str, object]:
    """What MLflow's database and bucket have between them of the deployment: versions, runs, aliases and a file."""
    mlflow.set_tracking_uri(url)
    client = mlflow.MlflowClient(url)
    model = client.get_registered_model(MODEL)
    with TemporaryDirectory() as folder:
        downloaded = mlflow.artifacts.download_artifacts(f"models:/{MODEL}@{ALIAS}", dst_path=folder)
        program = hashlib.sha256(Path(downloaded, "data", "model.pt2").read_bytes()).hexdigest()
    versions = sorted(version.version for version in client.search_model_versions(f"name = '{MODEL}'"))
    experiment = client.get_experiment_by_name(MODEL)
    assert experiment is not None
    runs = sorted(run.info.run_id for run in client.search_runs([experiment.experiment_id]))
    return {"aliases": dict(model.aliases), "versions": versions, "runs": runs, "program": program}


def _script(compose: ComposeStack, name: str, folder: Path) -> None:
    """Run a script as a person types it, on this suite's project."""
    output_of([f"scripts/{name}.sh", str(folder)], {**os.environ, **compose.environment})


def _lose(compose: ComposeStack, services: list[str], volumes: list[str]) -> None:
    """Volumes go only with the containers that have them."""
    compose.compose("kill", *services, check=True)
    compose.compose("rm", "--force", *services, check=True)
    docker("volume", "rm", *(f"{PROJECT}_{volume}" for volume in volumes))


def _sql(compose: ComposeStack, statement: str) -> str:
    psql = ("psql", "--username=mlflow", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
    return compose.compose("exec", "-T", "postgres", *psql, stdin=statement, check=True).stdout.strip()


def _predict(url: str) -> tuple[int, str]:
    answer = requests.put(url, data=(SAMPLES / "sample.json").read_bytes(), timeout=30)
    return answer.status_code, answer.text


@contextmanager
def _answered(url: str) -> Iterator[None]:
    """Ask for one prediction after the other meanwhile: each is answered."""
    over = Event()

    def ask() -> list[tuple[int, str]]:
        answers = [_predict(url)]
        while not over.wait(0.05):
            answers.append(_predict(url))
        return answers

    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(ask)
        try:
            yield
        finally:
            over.set()
    answers = asked.result()
    assert set(answers) == {(200, "SETOSA")}
    assert len(answers) > 20


def _wait_for_registry(compose: ComposeStack) -> None:
    reachable = '"registry": "reachable"'
    until("the registry is reached", lambda: reachable in compose.told("http://127.0.0.1:8083/ready"), timeout_s=20)


def test_what_came_after_a_backup_is_gone(
    compose: ComposeStack, saved: Saved, url: str, registry: MlflowClient
) -> None:
    """The bucket is lost and restored, and a database that is there is as it was, down to its tables."""
    registry.create_registered_model("made-after-the-backup")
    _sql(compose, _LATER)
    is_seaweedfs = "docker-compose.seaweedfs.yml" in compose.environment["COMPOSE_FILE"]
    with _answered(url):
        _lose(compose, ["minio"], ["seaweedfs-data" if is_seaweedfs else "minio-data"])
        _script(compose, "restore", saved.folder)
        assert _content(compose.mlflow_url) == saved.content
        assert [model.name for model in registry.search_registered_models()] == [MODEL]
        assert _sql(compose, _IS_LATER) == "f"
        _wait_for_registry(compose)


def test_a_lost_database_comes_back(compose: ComposeStack, saved: Saved, url: str) -> None:
    """A new cluster takes the backup; predictions never notice."""
    with _answered(url):
        _lose(compose, ["mlflow-server", "postgres"], ["postgres-data"])
        _script(compose, "restore", saved.folder)
        assert _content(compose.mlflow_url) == saved.content
        _wait_for_registry(compose)


def test_a_newer_postgresql_takes_the_backup(saved: Saved, tmp_path: Path) -> None:
    """From the containers' PostgreSQL 17 to the 18 of the stack without them, where MLflow finds all of it.

    A backup that was cut off changes nothing there.
    """
    settings = Settings(home=tmp_path / "home")
    backup.load(settings, saved.folder)
    cut = tmp_path / "cut"
    cut.mkdir()
    with tarfile.open(cut / "bucket.tar", "w"):
        pass
    (cut / "database").write_bytes((saved.folder / "database").read_bytes()[:-20_000])
    with pytest.raises(EmbeddedError, match="pg_restore failed"):
        backup.load(settings, cut)
    with opened(tmp_path / "home" / "up", parts=lambda *of: [*stores(*of), whole(*of)[-1]]) as stack:
        stack.wait_ready()
        assert _content(stack.urls.mlflow) == saved.content


def test_all_else_is_made_anew(compose: ComposeStack, saved: Saved, url: str) -> None:
    """Lost passwords, uploads and what a replica has built: PostgreSQL's own socket lets a new password in.

    The replica fetches and builds again what the registry wants.
    """
    anew = ["postgres-secrets", "minio-secrets", "mlflow-server-secrets", "mlflow-server-scratch", "torchserve-data"]
    users = ["secrets", "postgres", "postgres-setup", "minio", "minio-setup", "mlflow-server", "torchserve"]
    _lose(compose, users, anew)
    compose.compose("up", "--detach", "--wait", "postgres", check=True)
    compose.compose("exec", "-T", "postgres", "psql", "--username=postgres", stdin=_SUPERUSER, check=True)
    compose.compose("up", "--detach", "torchserve", check=True)
    until("it predicts again", lambda: _predict(url) == (200, "SETOSA"), timeout_s=60)
    assert _content(compose.mlflow_url) == saved.content
