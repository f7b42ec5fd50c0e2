from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from signet_torchserve.champion import Champion
from signet_torchserve.registry import MAX_TAG_LENGTH, Registry, RegistryUnreachable

# MLflow 3.17's store on SQLAlchemy 2.1: https://docs.sqlalchemy.org/en/21/orm/queryguide/relationships.html#sqlalchemy.orm.noload
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """A registry of three models, each with two versions."""
    uri = f"sqlite:///{tmp_path}/registry.db"
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
    assert registry.champions() == {
        "a": Champion("2", {"serving.workers": "2"}, client.get_registered_model("a").creation_timestamp),
        "b": Champion("1", {"serving.workers": "4"}, client.get_registered_model("b").creation_timestamp),
    }
    registry.mark("a", "2", "ready", "it answers", {"serving.digest": "sha256:1"})
    champion = registry.champions()["a"]
    assert champion.revision == Champion("2", {"serving.workers": "2"}).revision
    assert champion.tags["serving.digest"] == "sha256:1"
    assert champion.has_served


def test_the_version_that_carries_the_alias_now(uri: str) -> None:
    """One model alone can be asked for; where none carries the alias there is none."""
    registry = Registry(uri, "champion")
    assert registry.champion_version("a") == "2"
    assert registry.champion_version("c") is None


def test_what_served_last_stands_in_the_registry(uri: str) -> None:
    """It is the version that came into service last, whichever has the greater number; copies have served nobody."""
    registry = Registry(uri, "champion")
    assert registry.last_served("a") is None
    for version, status in (("2", "ready"), ("1", "ready"), ("2", "failed")):
        registry.mark("a", version, status, "so it is")
    last = registry.last_served("a")
    assert last is not None
    assert last.version == "1"
    copied = MlflowClient(uri).get_model_version("a", "1").tags["serving.served_at"]
    MlflowClient(uri).set_model_version_tag("b", "1", "serving.served_at", copied)
    assert registry.last_served("b") is None


def test_what_became_of_a_version_stands_on_it(uri: str) -> None:
    """Status and reason are tags, the reason with time and replica and no longer than a tag may be."""
    Registry(uri, "champion").mark("a", "2", "refused", "x" * 5000)
    tags = MlflowClient(uri).get_model_version("a", "2").tags
    assert tags["serving.status"] == "refused"
    assert tags["serving.reason"].endswith("xxx")
    assert len(tags["serving.reason"]) == MAX_TAG_LENGTH


def test_a_registry_that_is_away_is_said_to_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever is asked of it, the error names its address."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry = Registry("http://127.0.0.1:9", "champion")
    with pytest.raises(RegistryUnreachable, match=r"http://127\.0\.0\.1:9: "):
        registry.champions()
    with pytest.raises(RegistryUnreachable, match=r"http://127\.0\.0\.1:9: "):
        registry.download("a", "1", tmp_path)
    with pytest.raises(RegistryUnreachable, match=r"http://127\.0\.0\.1:9: "):
        registry.mark("a", "1", "ready", "it answers")
    with pytest.raises(RegistryUnreachable, match=r"http://127\.0\.0\.1:9: "):
        registry.champion_version("a")
    with pytest.raises(RegistryUnreachable, match=r"http://127\.0\.0\.1:9: "):
        registry.last_served("a")
