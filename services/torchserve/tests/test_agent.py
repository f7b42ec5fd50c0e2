"""The agent with a real TorchServe and a real registry, which is a database of MLflow's without its server."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import models
import pytest
import requests
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from models import NAME, Formula, free_addresses, rows, wait_until_up
from oracle import columns_schema
from signet_torchserve import torchserve
from signet_torchserve.agent import Agent
from signet_torchserve.management import TorchServe, TorchServeError
from signet_torchserve.registry import Registry
from signet_torchserve.settings import Settings
from signet_torchserve.store import Status, Store, read_status

ROOT = Path(__file__).parents[3]
# MLflow 3.17's store on SQLAlchemy 2.1: https://docs.sqlalchemy.org/en/21/orm/queryguide/relationships.html#sqlalchemy.orm.noload
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

STRICT = {"inputs": {"a": [1.5]}}
LAX = {"inputs": {"a": [4], "extra": ["x"]}}


@dataclass
class Replica:
    """A TorchServe, its agent and the registry that it follows."""

    agent: Agent
    client: MlflowClient
    server: TorchServe
    home: Path
    url: str

    def tag(self, **tags: str | None) -> None:
        for name, value in tags.items():
            if value is None:
                self.client.delete_model_version_tag(NAME, "1", f"serving.{name}")
            else:
                self.client.set_model_version_tag(NAME, "1", f"serving.{name}", value)

    def marks(self) -> tuple[str, str]:
        tags = self.client.get_model_version(NAME, "1").tags
        return tags["serving.status"], tags["serving.reason"].partition(": ")[2]

    def revision(self) -> str:
        revision = self.server.default_version(NAME)
        assert revision is not None
        return revision

    def status(self) -> Status:
        status = read_status(self.home)
        assert status is not None
        return status

    def ask(self, document: object) -> requests.Response:
        return requests.post(self.url, json=document, timeout=30)


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """A replica that serves version 1 of a model whose one column is a double."""
    folder = tmp_path_factory.mktemp("replica")
    uri = f"sqlite:///{folder}/registry.db"
    environment = os.environ | free_addresses()
    client = MlflowClient(uri)
    model = models.save(
        folder / "model", Formula(lambda x: x * 2), rows(3, 1), ModelSignature(columns_schema(("double", "a")))
    )
    client.create_registered_model(NAME)
    client.create_model_version(NAME, str(model))
    client.set_registered_model_alias(NAME, "champion", "1")
    settings = Settings(uri, folder / "home", ROOT / "config.properties", "champion", 1.0)
    store = Store(settings.home)
    process = torchserve.start(settings, store, environment)
    server = TorchServe(*torchserve.addresses(settings, environment))
    try:
        agent = Agent(Registry(uri, "champion"), server, store, 1.0)
        wait_until_up(server)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", uri)  # as the container has it: artifacts are looked up there
            agent.reconcile()
            url = f"{environment['TS_INFERENCE_ADDRESS']}/predictions/{NAME}"
            yield Replica(agent, client, server, settings.home, url)
    finally:
        torchserve.stop(process, 10)
        store._lock.close()


def test_changed_tags_are_rolled_out_without_a_lost_request(replica: Replica) -> None:
    """Tags on the live version hold at the next look, and every request meanwhile is answered."""
    assert replica.revision() == "1"
    assert replica.ask(LAX).status_code == 400
    stop, answers = threading.Event(), list[int]()

    def load() -> None:
        while not stop.is_set():
            answers.append(replica.ask(STRICT).status_code)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        replica.tag(allow="whole_numbers,extra_columns", workers="2", batch_size="4", max_batch_delay="3")
        replica.agent.reconcile()
    finally:
        stop.set()
        thread.join()
    assert set(answers) == {200}
    answer = replica.ask(LAX)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"predictions": [{"0": 8.0}]}
    assert answer.headers["X-Model-Version"] == "1"
    assert replica.revision().startswith("1-")
    (served,) = replica.server.versions(NAME)
    assert served.ready_workers == 2
    described = replica.server._call("GET", f"{replica.server._management}/models/{NAME}")[0]
    assert (described["batchSize"], described["maxBatchDelay"]) == (4, 3)
    assert replica.marks()[0] == "ready"


def test_a_tag_with_a_wrong_value_is_refused(replica: Replica) -> None:
    """A tag that says nothing is refused by name, and what was served goes on; taken back, all is well again."""
    before = replica.revision()
    for tag, value in {"allow": "everything", "batch_size": "many"}.items():
        replica.tag(**{tag: value})
        replica.agent.reconcile()
        status, reason = replica.marks()
        assert status == "refused"
        assert reason.startswith(f"The tag serving.{tag} has ")
        assert replica.status().refused == [NAME]
        assert replica.revision() == before
        replica.tag(allow="whole_numbers,extra_columns", batch_size="4")
        replica.agent.reconcile()
        assert (replica.status().refused, replica.status().pending) == ([], [])


def test_tags_taken_away_make_it_strict_again(replica: Replica) -> None:
    """Without tags the version serves by its number, from the archive that is still there."""
    replica.tag(allow=None, workers=None, batch_size=None, max_batch_delay=None)
    replica.agent.reconcile()
    assert replica.revision() == "1"
    assert replica.ask(LAX).status_code == 400


def test_torchserve_says_what_is_wrong(replica: Replica) -> None:
    """An error of the management API is told in its own words; an unknown model has no versions."""
    assert replica.server.versions("unknown") == []
    assert replica.server.default_version("unknown") is None
    with pytest.raises(TorchServeError, match="answered 404: Model not found"):
        replica.server.unregister("unknown", "1")
    with pytest.raises(TorchServeError, match=r"answered 400: .*Model is missing inputs"):
        replica.server.predict(NAME, replica.revision(), {"inputs": {"b": [1.5]}})


def test_the_registry_going_away_changes_nothing(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the registry cannot be read, what was last wanted is served on, and the status says so."""
    monkeypatch.setattr(replica.agent, "_registry", Registry("http://127.0.0.1:9", "champion"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    replica.agent.reconcile()
    assert replica.status().deployments == {NAME: "1"}
    assert "127.0.0.1:9" in replica.status().registry


def test_a_model_without_the_alias_is_withdrawn(replica: Replica) -> None:
    """Taking the alias away takes the model out of service."""
    replica.client.delete_registered_model_alias(NAME, "champion")
    replica.agent.reconcile()
    assert replica.server.models() == []
    assert replica.status().deployments == {}
