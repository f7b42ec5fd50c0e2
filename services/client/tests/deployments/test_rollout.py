"""A rollout's wait, with a real registry in which the test says what the controllers of two replicas would."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient
from signet_client.deployments import rollout

from testing.mlflow_store import empty_store

if TYPE_CHECKING:
    from pathlib import Path

# MLflow 3.17's store on SQLAlchemy 2.1: https://docs.sqlalchemy.org/en/21/orm/queryguide/relationships.html#sqlalchemy.orm.noload
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


@pytest.fixture
def client(tmp_path: Path) -> MlflowClient:
    """A registry with two versions of one model, of which the second carries the alias."""
    client = MlflowClient(empty_store(tmp_path))
    client.create_registered_model("fare")
    for _ in range(2):
        client.create_model_version("fare", str(tmp_path))
    client.set_registered_model_alias("fare", "champion", "2")
    return client


def _say(client: MlflowClient, status: str, **replicas: str) -> None:
    for name, said in replicas.items():
        client.set_registered_model_tag("fare", f"serving.replica.{name}", f"{said} since 2026-01-01: of a reason")
    client.set_model_version_tag("fare", "2", "serving.reason", "2026-01-01 b: [Errno 28] No space left on device")
    client.set_model_version_tag("fare", "2", "serving.status", status)


def test_what_one_replica_serves_is_served(client: MlflowClient, capsys: pytest.CaptureFixture[str]) -> None:
    """Where one replica serves the version and another can't, the wait ends with the reason and without an error."""
    _say(client, "failed", a="version 2 is ready", b="version 2 is failed")
    rollout.wait_until_served(client, "fare", "2", "champion")
    assert "fare version 2 is failed: [Errno 28] No space left on device" in " ".join(capsys.readouterr().err.split())
    model = client.get_registered_model("fare")
    assert rollout.replicas(model, "2") == {"a": "ready", "b": "failed"}


@pytest.mark.parametrize("other", ["version 2 is refused", "version 1 is ready", "what nobody has written"])
def test_what_no_replica_serves_is_not_served(client: MlflowClient, other: str) -> None:
    """Where no replica serves the version, whatever else it serves, the wait ends with the reason as an error."""
    _say(client, "failed", a=other, b="version 2 is failed")
    with pytest.raises(rollout.NotServed, match="No space left on device"):
        rollout.wait_until_served(client, "fare", "2", "champion")
