from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from signet_torchserve.archive.store import Store
from signet_torchserve.revision import Revision


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "home")
    yield store
    store.close()


def _archives(store: Store, *names: str) -> None:
    for age, name in enumerate(names):
        path = store.archives / f"{name}.mar"
        path.touch()
        os.utime(path, (1_000_000 - age, 1_000_000 - age))


def _left(store: Store) -> list[str]:
    return sorted(path.stem for path in store.archives.iterdir())


def test_replicas_share_a_home(store: Store) -> None:
    """A second replica takes the next folder, and whoever starts after one has ended takes that one's."""
    home = store.home.parent
    second = Store(home)
    assert [store.home.name, second.home.name] == ["replica-1", "replica-2"]
    second.close()
    third = Store(home)
    assert third.home.name == "replica-2"
    third.close()


def test_what_a_dead_process_left_is_cleared(tmp_path: Path) -> None:
    """Unpacked models and half-made archives go; archives and state files stay."""
    home = tmp_path / "replica-1"
    for folder in ("tmp/downloads", "archives/.building-x", "archives/iris@1"):
        (home / folder).mkdir(parents=True)
    for file in ("tmp/downloads/a", "archives/.building-x/b", "archives/iris@1/MLmodel", "archives/iris@1.mar"):
        (home / file).write_text("{}")
    (home / "desired.json").write_text('{"format": 1, "revisions": {"iris": {"version": "1", "tags": {}}}}')
    store = Store(tmp_path)
    store.close()
    assert [path.name for path in store.archives.iterdir()] == ["iris@1.mar"]
    assert not list(store.temporary.iterdir())
    assert store.last_desired() == {"iris": Revision("1")}


def test_only_what_was_sealed_is_unpacked(store: Store) -> None:
    """An archive is cached once it has its manifest; one that has changed since is deleted, not served."""
    revision = Revision("1")
    mar = store.archive("iris", revision)
    with zipfile.ZipFile(mar, "w") as archive:
        archive.writestr("MLmodel", "signature")
    assert not store.is_cached("iris", revision)
    store.write_manifest("iris", revision)
    assert store.is_cached("iris", revision)
    folder = store.unpack("iris", revision)
    assert folder == store.unpacked("iris", "1")
    assert (folder / "MLmodel").read_text() == "signature"
    store.discard("iris", "1")
    assert not folder.exists()
    with zipfile.ZipFile(mar, "a") as archive:
        archive.writestr("handler.py", "raise SystemExit")
    assert store.unpack("iris", revision) is None
    assert not store.is_cached("iris", revision)
    assert not folder.exists()
    assert not mar.exists()


def test_an_archive_is_of_one_model(store: Store) -> None:
    """A model that was made anew under the same name has none yet, though its versions have the same numbers."""
    former, revision = Revision("1", created=1), Revision("1", created=2)
    with zipfile.ZipFile(store.archive("iris", former), "w") as archive:
        archive.writestr("MLmodel", "signature")
    store.write_manifest("iris", former)
    assert store.is_cached("iris", former)
    assert not store.is_cached("iris", revision)
    assert store.unpack("iris", revision) is None


def test_a_full_disk_ends_nothing(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """The log says what cannot be kept for the next start, and the replica goes on."""
    (store.home / "desired.tmp").symlink_to("/dev/full")
    store.note_last_desired({"iris": Revision("1")})
    assert "desired.json cannot be kept: [Errno 28] No space left on device" in caplog.text
    assert store.last_desired() == {}


def test_an_archive_is_named_after_its_version(store: Store) -> None:
    """Each version of a model has its own archive, and another for other tags."""
    assert store.archive("iris", Revision("3")) == store.archives / "iris@3.mar"
    assert store.archive("iris", Revision("3", {"serving.workers": "2"})).name.startswith("iris@3-")
    assert store.archive("iris", Revision("3", {"serving.status": "ready"})).name == "iris@3.mar"


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


def test_what_has_just_served_is_pruned_last(store: Store) -> None:
    """A version that has served for long is the one to go back to, though others were unpacked after it."""
    _archives(store, "iris@4", "iris@3", "iris@2")
    store.discard("iris", "2")
    store.prune("iris", {"4"})
    assert _left(store) == ["iris@2", "iris@4"]


def test_champions_are_remembered(store: Store) -> None:
    """What the registry last wanted survives; nothing is remembered before, nor from a damaged file."""
    assert store.last_desired() == {}
    revisions = {"iris": Revision("3", {"serving.allow": "nulls"}), "digits": Revision("1")}
    store.note_last_desired(revisions)
    store.close()
    again = Store(store.home.parent)
    assert again.last_desired() == revisions
    again.close()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"iris"', "desired.json is damaged and is discarded"),
        ("[1]", "desired.json is damaged and is discarded"),
        ('{"format": 2, "revisions": {"iris": 7}}', "desired.json has the format 2: expected 1. It is discarded."),
        ('{"iris": {"version": "3"}}', "desired.json has the format None: expected 1. It is discarded."),
    ],
)
def test_a_state_file_that_cannot_be_read_is_discarded(
    text: str, line: str, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged file, or one of another release's format, holds nothing, and the log says so."""
    (store.home / "desired.json").write_text(text)
    assert store.last_desired() == {}
    assert line in caplog.text


def test_the_archives_of_a_deleted_model_are_deleted(store: Store) -> None:
    """All its archives go, with their manifests, and no other model's."""
    _archives(store, "iris@3", "iris@2", "iris2@1")
    (store.archives / "iris@3.manifest").touch()
    assert store.stems() == {"iris", "iris2"}
    store.delete_archives("iris")
    assert _left(store) == ["iris2@1"]


def test_what_served_last_is_noted(store: Store) -> None:
    """Each deployment has what served last; what was withdrawn has nothing."""
    assert store.last_good() == {}
    store.note_last_good({"iris": Revision("3", {"serving.allow": "nulls"}), "digits": Revision("1")})
    store.note_last_good({"iris": Revision("3", {"serving.allow": "nulls"})})
    assert store.last_good() == {"iris": Revision("3", {"serving.allow": "nulls"})}
    assert not list(store.home.glob("*.tmp"))


def test_files_are_named_by_something_short(store: Store) -> None:
    """Whatever name a registered model has, its archive has a name of its own that every file system can hold."""
    names = [
        "iris",
        "n" * 64,
        "n" * 65,
        "n" * 246,
        "n" * 245 + "m",
        "n" * 256,
        "a\tb",
        "a b",
        "日" * 256,
        "a~b",
        "\udc80",
    ]
    tagged = Revision("12345678", {"serving.workers": "2"})
    archives = [store.archive(name, tagged) for name in names]
    assert len(set(archives)) == len(names)
    for name, mar in zip(names, archives, strict=True):
        mar.with_name(f"{mar.name}.json.tmp").touch()
        mar.touch()
        store.write_manifest(name, tagged)
        assert store.is_cached(name, tagged)
        assert mar.with_suffix("") == store.unpacked(name, tagged.id)
        store.prune(name, {tagged.id})
        assert mar.exists()
    assert archives[0].name == f"iris@{tagged.id}.mar"


def test_what_cannot_be_unpacked_keeps_nothing_else_from_being_served(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """At a start, a deployment whose files cannot be written is left out, and the others are served."""
    for name in ("iris", "digits"):
        with zipfile.ZipFile(store.archive(name, Revision("1")), "w") as archive:
            archive.writestr("MLmodel", "signature")
        store.write_manifest(name, Revision("1"))
    store.note_last_good(dict.fromkeys(("iris", "digits"), Revision("1")))
    store.unpacked("digits", "1").symlink_to("/proc/no-such-folder")
    assert list(store.unpack_last_good()) == ["iris"]
    assert "digits version 1 cannot be unpacked: " in caplog.text


def test_a_replica_keeps_its_name(store: Store) -> None:
    """It has the same one after a restart, and no two have one, whatever their folders are called."""
    home, name = store.home.parent, store.replica
    store.close()
    again, second = Store(home), Store(home)
    elsewhere = Store(home.parent / "elsewhere")
    assert again.replica == name
    assert [path.home.name for path in (again, elsewhere)] == ["replica-1", "replica-1"]
    assert len({again.replica, second.replica, elsewhere.replica}) == 3
    for opened in (again, second, elsewhere):
        opened.close()
