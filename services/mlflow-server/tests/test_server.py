"""Schema, hosts and artifacts, seen from outside; and MLflow's private names, seen from inside."""

from __future__ import annotations

import sqlite3
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import requests
from signet_mlflow_server.settings import Settings

with warnings.catch_warnings():
    # MLflow 3.17 uses loader strategies that SQLAlchemy 2.1 has deprecated.
    warnings.simplefilter("ignore")
    import mlflow.server
    from alembic import command
    from alembic.util import CommandError
    from fastapi import FastAPI
    from mlflow.store.db import utils
    from signet_mlflow_server import server as module

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import RunningServer


def test_environment_is_what_mlflow_server_hands_to_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable that `mlflow server` sets for the serving process is set here too, with the same value.

    An MLflow upgrade that adds one, a security marker say, fails here.
    """
    handed: dict[str, str] = {}

    class Done:
        pid = 0

        def wait(self) -> int:
            return 0

    def record(_command: list[str], *, extra_env: dict[str, str], **_: Any) -> Done:
        handed.update(extra_env)
        return Done()

    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    monkeypatch.setattr(mlflow.server, "_exec_cmd", record)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    settings = Settings(backend_store_uri="sqlite://")
    mlflow.server._run_server(
        file_store_path=settings.backend_store_uri,
        registry_store_uri=settings.backend_store_uri,
        default_artifact_root=module.PROXIED_ARTIFACT_ROOT,
        serve_artifacts=True,
        artifacts_only=False,
        artifacts_destination=module.proxied(settings.artifacts_destination),
        host=settings.host,
        port=settings.port,
    )
    ours = module.server_env(settings)
    handed["_MLFLOW_SERVER_BOOT_ID"] = ours["_MLFLOW_SERVER_BOOT_ID"]  # random by design
    assert handed.items() <= ours.items()


def test_streaming_is_off_where_mlflow_lacks_what_it_needs(caplog: pytest.LogCaptureFixture) -> None:
    """MLflow's own routes stay, and the log names what is missing."""
    module._stream(Settings(), SimpleNamespace(), FastAPI())
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().endswith(f"MLflow {mlflow.__version__} lacks _EfficientWSGIResponder.")


def test_old_schema_is_upgraded(tmp_path: Path) -> None:
    """A database left by an older MLflow has the newest schema after `migrate`, and its rows."""
    uri = f"sqlite:///{tmp_path}/old.db"
    engine = utils.create_sqlalchemy_engine_with_retry(uri)
    utils.InitialBase.metadata.create_all(engine)
    config = utils._get_alembic_config(uri)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "acf3f17fdcc7")  # MLflow 2.9
    with sqlite3.connect(tmp_path / "old.db") as database:
        database.execute("INSERT INTO experiments (experiment_id, name) VALUES (7, 'kept')")
    database.close()

    module.migrate(Settings(backend_store_uri=uri))

    utils._verify_schema(engine)
    with sqlite3.connect(tmp_path / "old.db") as database:
        assert database.execute("SELECT name FROM experiments WHERE experiment_id = 7").fetchall() == [("kept",)]
    database.close()
    engine.dispose()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A database that a newer MLflow has brought up to date stays as it is, and the server does not start."""
    uri = f"sqlite:///{tmp_path}/newer.db"
    module.migrate(Settings(backend_store_uri=uri))
    with sqlite3.connect(tmp_path / "newer.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'of_the_next'")
    database.close()
    with pytest.raises(CommandError, match="of_the_next"):
        module.migrate(Settings(backend_store_uri=uri))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:5000", 200),
        ("localhost:61234", 200),
        ("127.0.0.1:61234", 200),
        ("[::1]:5000", 200),
        ("mlflow-server:5000", 200),
        ("evil.example", 403),
        ("mlflow-server.evil.example:5000", 403),
        ("localhost.evil.example", 403),
    ],
)
def test_only_listed_hosts_get_an_answer(server: RunningServer, host: str, status: int) -> None:
    """What people and containers open is answered on any port; a rebound name is refused."""
    body = {"max_results": 1}
    answer = requests.post(
        f"{server.url}/api/2.0/mlflow/experiments/search", json=body, headers={"Host": host}, timeout=30
    )
    assert answer.status_code == status


def test_health_is_answered_whatever_the_host(server: RunningServer) -> None:
    """A probe that comes with an address instead of a name sees the server's health."""
    assert requests.get(f"{server.url}/health", headers={"Host": "10.1.2.3"}, timeout=30).text == "OK"


def test_artifacts_go_through_the_server(server: RunningServer) -> None:
    """A client that knows no S3 writes and reads artifacts over HTTP, and experiments point to the proxy."""
    url = f"{server.url}/api/2.0/mlflow-artifacts/artifacts/some/file.bin"
    content = bytes(range(256)) * 4096
    assert requests.put(url, data=content, timeout=30).status_code == 200
    assert requests.get(url, timeout=30).content == content
    experiment = requests.get(f"{server.url}/api/2.0/mlflow/experiments/get?experiment_id=0", timeout=30).json()
    assert experiment["experiment"]["artifact_location"].startswith("mlflow-artifacts:/")
