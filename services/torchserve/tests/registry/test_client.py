from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.tracking._model_registry.client import ModelRegistryClient
from signet_torchserve.registry.client import EVERY_MODEL, MAX_TAG_LENGTH, Registry
from signet_torchserve.registry.errors import RegistryRefused, RegistryUnreachable
from signet_torchserve.revision import Revision, served_at

from testing.mlflow_store import empty_store

# MLflow 3.17's store on SQLAlchemy 2.1: https://docs.sqlalchemy.org/en/21/orm/queryguide/relationships.html#sqlalchemy.orm.noload
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """A registry of three models, each with two versions."""
    uri = empty_store(tmp_path)
    client = MlflowClient(uri)
    for name in ("a", "b", "c"):
        client.create_registered_model(name)
        for _ in range(2):
            client.create_model_version(name, str(tmp_path))
    client.set_registered_model_alias("a", "champion", "2")
    client.set_registered_model_alias("b", "champion", "1")
    client.set_registered_model_alias("c", "challenger", "1")
    return uri


def test_champions_come_with_their_tags(uri: str) -> None:
    """Of each model that carries the alias comes the version, latest or not, with its tags that are about serving.

    It knows which model it is of, should another one get that name.
    """
    client = MlflowClient(uri)
    for name, version, value in (("a", "2", "2"), ("a", "1", "3"), ("b", "1", "4"), ("b", "2", "5")):
        client.set_model_version_tag(name, version, "serving.workers", value)
        client.set_model_version_tag(name, version, "owner", "me")
    registry = Registry(uri, "champion")
    assert registry.desired() == {
        "a": Revision("2", {"serving.workers": "2"}, client.get_registered_model("a").creation_timestamp),
        "b": Revision("1", {"serving.workers": "4"}, client.get_registered_model("b").creation_timestamp),
    }
    registry.set_status(
        "a", "2", "ready", "it answers", {"serving.digest": "sha256:1", "serving.served_at": served_at("a", "2")}
    )
    revision = registry.desired()["a"]
    assert revision.id == Revision("2", {"serving.workers": "2"}).id
    assert revision.tags["serving.digest"] == "sha256:1"
    assert revision.has_served


def test_the_version_that_carries_the_alias_now(uri: str) -> None:
    """One model alone can be asked for; where none carries the alias there is none."""
    registry = Registry(uri, "champion")
    assert registry.champion_version("a") == "2"
    assert registry.champion_version("c") is None


def test_first_versions_have_none_before_them(uri: str) -> None:
    """Of two versions neither counts as the first. If the second was deleted, the first does."""
    client = MlflowClient(uri)
    client.create_registered_model("d")
    client.create_model_version("d", "elsewhere")
    client.set_registered_model_alias("d", "champion", "1")
    registry = Registry(uri, "champion")
    assert registry.desired().keys() == {"a", "b", "d"}
    assert registry.firsts == {"d"}
    client.delete_model_version("b", "2")
    client.delete_model_version("a", "1")
    registry.desired()
    assert registry.firsts == {"b", "d"}


def test_only_what_has_changed_is_read_again(uri: str) -> None:
    """What has not is as it was read last: its tags, and that it is there; a model that is gone is forgotten."""
    client = MlflowClient(uri)
    for number in range(20):
        client.create_registered_model(f"other-{number}")
    registry = Registry(uri, "champion")
    before = registry.desired()
    for name in ("a", "b"):
        client.set_model_version_tag(name, before[name].version, "serving.workers", "7")
    after = registry.desired({"a", "not there"})
    assert after["a"].tags["serving.workers"] == "7"
    assert after["b"] is before["b"]
    client.delete_registered_model("a")
    client.delete_registered_model("other-7")
    assert registry.desired({"a"}).keys() == {"b"}
    assert "other-7" in registry.models
    assert "a" not in registry.models
    assert registry.desired({"other-7"})["b"] is before["b"]
    assert "other-7" not in registry.models
    assert registry.desired()["b"].tags["serving.workers"] == "7"


@pytest.mark.parametrize("changed", [{"b", *(f"c{number}" for number in range(9))}, {"b", "it's"}, {"b", "back\\"}])
def test_all_is_read_again_where_that_is_cheaper_or_names_are_odd(changed: set[str], uri: str) -> None:
    """A list of a few models takes no longer than one model, and MLflow's filters cannot have every name."""
    client = MlflowClient(uri)
    for number in range(20):
        client.create_registered_model(f"other-{number}")
    registry = Registry(uri, "champion")
    registry.desired()
    client.set_model_version_tag("a", "2", "serving.workers", "7")
    assert registry.desired(changed)["a"].tags["serving.workers"] == "7"


def test_what_served_last_stands_in_the_registry(uri: str) -> None:
    """It is the version that came into service last, whichever has the greater number; copies have served nobody."""
    registry = Registry(uri, "champion")
    assert registry.last_served("a", 0) is None
    for version in ("2", "1"):
        registry.set_status("a", version, "ready", "so it is", {"serving.served_at": served_at("a", version)})
        time.sleep(0.002)  # the tag tells milliseconds
    registry.set_status("a", "2", "failed", "so it is")
    last = registry.last_served("a", 0)
    assert last is not None
    assert last.version == "1"
    copied = MlflowClient(uri).get_model_version("a", "1").tags["serving.served_at"]
    MlflowClient(uri).set_model_version_tag("b", "1", "serving.served_at", copied)
    assert registry.last_served("b", 0) is None


def test_what_became_of_a_version_stands_on_it(uri: str) -> None:
    """Status and reason are tags, the reason no longer than a tag may be."""
    Registry(uri, "champion").set_status("a", "2", "refused", "x" * 5000)
    tags = MlflowClient(uri).get_model_version("a", "2").tags
    assert tags["serving.status"] == "refused"
    assert tags["serving.reason"].endswith("xxx")
    assert len(tags["serving.reason"]) == MAX_TAG_LENGTH


def dangle(uri: str, name: str, version: str) -> None:
    """Leave an alias on a version that does not exist, as older MLflow servers do."""
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        database.execute(
            "UPDATE registered_model_aliases SET version = ? WHERE name = ? AND alias = 'champion'", (version, name)
        )


def _delete_internally(uri: str, name: str, version: str) -> None:
    """Leave a version in the state in which MLflow keeps deleted ones."""
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        database.execute(
            "UPDATE model_versions SET current_stage = 'Deleted_Internal' WHERE name = ? AND version = ?",
            (name, version),
        )


@pytest.mark.parametrize("spoil", [dangle, _delete_internally])
def test_one_models_trouble_is_that_models(spoil: Callable[[str, str, str], None], uri: str) -> None:
    """A version that carries the alias and cannot be read is told, and every other model's version is read."""
    registry = Registry(uri, "champion")
    spoil(uri, "b", "99" if spoil is dangle else "1")
    assert list(registry.desired()) == ["a"]
    assert list(registry.troubles) == ["b"]
    assert registry.troubles["b"].startswith("The alias 'champion' is on version ")
    MlflowClient(uri).set_registered_model_alias("b", "champion", "2")
    assert list(registry.desired()) == ["a", "b"]
    assert registry.troubles == {}


@pytest.mark.filterwarnings("ignore:.*transition_model_version_stage:FutureWarning")
def test_stages_and_empty_tags_are_read(uri: str) -> None:
    """A version of another stage is a version; a tag without a value has an empty one."""
    client = MlflowClient(uri)
    for stage in ("Staging", "Archived"):
        client.transition_model_version_stage("a", "2", stage)
        client.set_model_version_tag("a", "2", "serving.allow", "")
        assert Registry(uri, "champion").desired()["a"].tags == {"serving.allow": ""}


def test_pages_are_read_to_the_last(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pages there are, each model is looked at once."""
    monkeypatch.setattr("signet_torchserve.registry.client.PAGE", 1)
    assert list(Registry(uri, "champion").desired()) == ["a", "b"]


def test_what_is_not_there_is_not_the_registrys_trouble(uri: str, tmp_path: Path) -> None:
    """What was deleted is refused; the registry is not said to be away."""
    registry = Registry(uri, "champion")
    assert registry.champion_version("gone") is None
    assert (registry.has("a", "2"), registry.has("a", "99"), registry.has("gone", "1")) == (True, False, False)
    for ask in (
        lambda: registry.download("a", "99", tmp_path),
        lambda: registry.set_status("a", "99", "ready", "it answers"),
        lambda: registry.set_replica_status("gone", "replica-1", "version 1 is ready since now: it answers"),
    ):
        with pytest.raises(RegistryRefused):
            ask()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        (
            MlflowException("500 Server Error: INTERNAL SERVER ERROR for url: http://mlflow:5000"),
            "500 Server Er",
        ),
        (MlflowException("403 Client Error: FORBIDDEN for url: http://mlflow-server:5000/x"), "403 Client Error"),
        (requests.ConnectionError("Connection reset by peer"), "Connection reset by peer"),
    ],
)
def test_a_file_that_cannot_be_had_is_the_versions_trouble(
    error: Exception, reason: str, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the registry answers, what goes wrong with a download is told of the version, and not of the registry."""

    def trouble(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("signet_torchserve.registry.client.get_artifact_repository", trouble)
    with pytest.raises(RegistryRefused, match=f"^The files of version 2 cannot be downloaded: .*{reason}"):
        Registry(uri, "champion").download("a", "2", tmp_path)


def test_a_download_ends_before_the_next_file(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `go_on` raises ends it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    source = tmp_path / "model"
    (source / "data").mkdir(parents=True)
    for file in ("MLmodel", "data/model.pt2"):
        (source / file).write_text(file)
    version = str(MlflowClient(uri).create_model_version("a", str(source)).version)
    target = tmp_path / "whole"
    target.mkdir()
    Registry(uri, "champion").download("a", version, target)
    assert (target / "data/model.pt2").read_text() == "data/model.pt2"
    files = list[int]()

    def go_on() -> None:
        files.append(1)
        if len(files) == 2:
            raise KeyError("superseded")

    with pytest.raises(KeyError, match="superseded"):
        Registry(uri, "champion").download("a", version, tmp_path, go_on)
    assert len(files) == 2


def test_nothing_is_asked_twice(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download asks once for each folder and once for each file, a mark once for each tag, and for nothing else."""
    source = tmp_path / "model"
    (source / "data").mkdir(parents=True)
    for file in ("MLmodel", "conda.yaml", "data/model.pt2"):
        (source / file).write_text(file)
    version = str(MlflowClient(uri).create_model_version("a", str(source)).version)
    target = tmp_path / "whole"
    target.mkdir()
    asked = Counter[str]()
    for owner, method in (
        (MlflowClient, "get_registered_model"),
        (LocalArtifactRepository, "list_artifacts"),
        (LocalArtifactRepository, "_download_file"),
        (ModelRegistryClient, "set_model_version_tag"),
    ):
        _count(monkeypatch, owner, method, asked)
    Registry(uri, "champion").download("a", version, target)
    assert asked == {"list_artifacts": 2, "_download_file": 3}
    asked.clear()
    Registry(uri, "champion").set_status("a", version, "ready", "it answers", {"serving.digest": "sha256:1"})
    Registry(uri, "champion").set_replica_status("a", "replica-1", "version 1 is ready since now: it answers")
    assert asked == {"set_model_version_tag": 3}


def _count(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, asked: Counter[str]) -> None:
    original = getattr(owner, method)

    def counted(*args: Any, **options: Any) -> Any:
        asked[method] += 1
        return original(*args, **options)

    monkeypatch.setattr(owner, method, counted)


def test_replicas_say_that_they_are_there(uri: str) -> None:
    """Each says so for the alias that it follows, until it leaves."""
    registry = Registry(uri, "champion")
    Registry(uri, "challenger").beat("replica-9")
    assert list(registry.beat("replica-1")) == ["replica-1"]
    assert sorted(registry.beat("replica-2")) == ["replica-1", "replica-2"]
    registry.leave("replica-1")
    assert list(registry.beat("replica-2")) == ["replica-2"]


def test_a_registry_that_is_away_is_said_to_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever is asked of it, the error names its address."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    registry = Registry("http://127.0.0.1:9", "champion")
    with pytest.raises(RegistryUnreachable, match=r"http://127\.0\.0\.1:9: "):
        registry.desired()
    with pytest.raises(RegistryUnreachable, match=r"http://127\.0\.0\.1:9: "):
        registry.download("a", "1", tmp_path)
    with pytest.raises(RegistryUnreachable, match=r"http://127\.0\.0\.1:9: "):
        registry.set_status("a", "1", "ready", "it answers")
    with pytest.raises(RegistryUnreachable, match=r"http://127\.0\.0\.1:9: "):
        registry.champion_version("a")
    with pytest.raises(RegistryUnreachable, match=r"http://127\.0\.0\.1:9: "):
        registry.last_served("a", 0)


@pytest.fixture
def nonsense() -> Iterator[tuple[str, list[bytes]]]:
    """Address of a server, and what it answers whatever it is asked."""
    content = [b""]

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content[0])))
            self.end_headers()
            self.wfile.write(content[0])

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", content
        server.shutdown()


@pytest.mark.parametrize(
    "content",
    [
        b"<html>log in first</html>",
        b"[]",
        b"null",
        b'{"registered_models": [{"na',
        b'{"registered_models": 5}',
        b'{"registered_models": [null]}',
        b'{"registered_models": [{"name": 5}]}',
        b'{"registered_models": [{"name": "a", "latest_versions": [7]}]}',
        b'{"registered_models": [], "next_page_token": {}}',
    ],
)
def test_a_server_that_answers_as_mlflow_never_does_is_away(content: bytes, nonsense: tuple[str, list[bytes]]) -> None:
    """It is asked again as soon as one that does not answer at all, and no deployment is touched meanwhile."""
    uri, answer = nonsense
    answer[0] = content
    with pytest.raises(RegistryUnreachable, match=uri):
        Registry(uri, "champion").desired()


@pytest.mark.parametrize("content", [b'{"registered_model": 5}', b'{"registered_model": {"aliases": "x"}}'])
def test_nonsense_about_one_model_is_no_answer(content: bytes, nonsense: tuple[str, list[bytes]]) -> None:
    """It does not even mean that the model has no version with the alias."""
    uri, answer = nonsense
    answer[0] = content
    with pytest.raises(RegistryUnreachable, match=uri):
        Registry(uri, "champion").champion_version("a")


def test_every_model_is_listed_and_no_prompt(uri: str) -> None:
    """A prompt may carry the alias, too, and is no deployment."""
    client = MlflowClient(uri)
    client.register_prompt("greeting", "Hello {{name}}")
    client.set_prompt_alias("greeting", "champion", 1)
    registry = Registry(uri, "champion")
    assert list(registry.desired()) == ["a", "b"]
    assert registry.models == {"a", "b", "c"}


def test_a_server_from_before_prompts_is_not_asked_for_their_tag(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There, a model without the tag is none whose tag differs: MLflow 2.14 lists nothing then."""
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415 -- it warns on import

    asked: list[str] = []
    search = SqlAlchemyStore.search_registered_models

    def record(store: SqlAlchemyStore, filter_string: str, *rest: object) -> object:
        asked.append(filter_string)
        return search(store, filter_string, *rest)

    monkeypatch.setattr(SqlAlchemyStore, "search_registered_models", record)
    Registry(uri, "champion").desired()
    assert asked == [EVERY_MODEL]
    assert "tag." not in EVERY_MODEL
