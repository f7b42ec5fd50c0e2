from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from signet_torchserve.options import Champion
from signet_torchserve.store import Status, Store, StoreInUse, read_status


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "home")
    yield store
    store._lock.close()


def _archives(store: Store, *names: str) -> None:
    for age, name in enumerate(names):
        path = store.archives / f"{name}.mar"
        path.touch()
        os.utime(path, (1_000_000 - age, 1_000_000 - age))


def _left(store: Store) -> list[str]:
    return sorted(path.stem for path in store.archives.iterdir())


def test_a_folder_belongs_to_one_replica(store: Store) -> None:
    """A second store in the same folder is refused while the first lives."""
    with pytest.raises(StoreInUse, match="in use by another replica"):
        Store(store.home)


def test_what_a_dead_process_left_is_cleared(tmp_path: Path) -> None:
    """Unpacked models, half-made archives and the old status go; archives and the memory stay."""
    for folder in ("tmp/models", "archives/.building-x"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("tmp/models/a", "archives/.building-x/b", "archives/iris@1.mar", "status.json"):
        (tmp_path / file).write_text("{}")
    (tmp_path / "champions.json").write_text('{"iris": {"version": "1", "tags": {}}}')
    store = Store(tmp_path)
    store._lock.close()
    assert _left(store) == ["iris@1"]
    assert not list(store.temporary.iterdir())
    assert read_status(tmp_path) is None
    assert store.remembered() == {"iris": Champion("1")}


def test_an_archive_is_named_after_its_version(store: Store) -> None:
    """Each version of a model has its own archive, and another for other tags."""
    assert store.archive("iris", Champion("3")) == store.archives / "iris@3.mar"
    assert store.archive("iris", Champion("3", {"serving.workers": "2"})).name.startswith("iris@3-")


@pytest.mark.parametrize(
    ("archives", "keep", "left"),
    [
        (["iris@3", "iris@2", "iris@1"], {"3"}, ["iris@2", "iris@3"]),
        (["iris@3", "iris@2", "iris@1"], {"1"}, ["iris@1", "iris@3"]),
        (["iris@3", "iris@2", "iris@1"], {"1", "2", "3"}, ["iris@1", "iris@2", "iris@3"]),
        (["iris@1", "iris2@1", "iris2@2", "a@b@1"], {"1"}, ["a@b@1", "iris2@1", "iris2@2", "iris@1"]),
        (["iris@1"], {"9"}, ["iris@1"]),
    ],
)
def test_old_archives_are_pruned(store: Store, archives: list[str], keep: set[str], left: list[str]) -> None:
    """Of one model the kept versions stay, and the last used others, two in all; other models' stay too."""
    _archives(store, *archives)
    store.prune("iris", keep)
    assert _left(store) == left


def test_champions_are_remembered(store: Store) -> None:
    """What the registry last wanted survives; nothing is remembered before, nor from a damaged file."""
    assert store.remembered() == {}
    champions = {"iris": Champion("3", {"serving.allow": "nulls"}), "digits": Champion("1")}
    store.remember(champions)
    assert store.remembered() == champions
    (store.home / "champions.json").write_text('{"iris"')
    assert store.remembered() == {}


def test_the_status_is_what_was_reported(store: Store) -> None:
    """The health check reads what the agent last wrote, and an unchanged status is not written again."""
    status = Status({"iris": "3"}, ["digits"], "reachable")
    store.report(status)
    assert read_status(store.home) == status
    written = (store.home / "status.json").stat().st_ino
    store.report(status)
    assert (store.home / "status.json").stat().st_ino == written
    store.report(Status())
    assert json.loads((store.home / "status.json").read_text())["pending"] == []
    assert not list(store.home.glob("*.tmp"))
