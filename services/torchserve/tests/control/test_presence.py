from __future__ import annotations

from pathlib import Path

import pytest
from signet_torchserve.control import presence
from signet_torchserve.control.presence import BEAT_S, GONE_S, MEET_S, Presence
from signet_torchserve.registry.client import Registry

from testing.mlflow_store import empty_store

# MLflow 3.17's store on SQLAlchemy 2.1: https://docs.sqlalchemy.org/en/21/orm/queryguide/relationships.html#sqlalchemy.orm.noload
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in its one element."""
    now = [1000.0]
    monkeypatch.setattr(presence.time, "monotonic", lambda: now[0])
    return now


def test_a_replica_that_is_silent_is_gone(clock: list[float], tmp_path: Path) -> None:
    """Replicas see one another while each says again and again that it is there, whatever its clock shows."""
    registry = Registry(empty_store(tmp_path), "champion")
    one, other = Presence(registry, "one"), Presence(registry, "other")
    other.look()
    one.look()
    assert one.is_known
    assert one.among(set()) == {"one", "other"}
    while clock[0] < 1000 + GONE_S:
        clock[0] += BEAT_S
        one.look()
    assert one.among({"another"}) == {"one"}


def test_a_replica_that_has_come_is_seen_when_it_says_something(clock: list[float], tmp_path: Path) -> None:
    """Whoever has an entry on a model is looked for at once, and is there or gone."""
    registry = Registry(empty_store(tmp_path), "champion")
    one, other = Presence(registry, "one"), Presence(registry, "other")
    one.look()
    other.look()
    clock[0] += MEET_S
    one.meet({"one", "other", "another"})
    assert one.among(set()) == {"one", "other"}


def test_a_replica_that_leaves_is_gone_at_once(clock: list[float], tmp_path: Path) -> None:
    """Who ends in good order keeps nobody waiting."""
    registry = Registry(empty_store(tmp_path), "champion")
    one, other = Presence(registry, "one"), Presence(registry, "other")
    other.look()
    other.leave()
    one.look()
    assert one.among(set()) == {"one"}
    assert clock == [1000.0]


def test_where_nobody_can_tell_those_count_that_have_said_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that keeps no tags of its default experiment stops nothing."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    one = Presence(Registry("http://127.0.0.1:9", "champion"), "one")
    one.look()
    assert not one.is_known
    assert one.among({"other"}) == {"one", "other"}
