"""What one replica keeps on disk, so that it can serve when the registry is gone."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import logging
import os
import re
import secrets
import shutil
import weakref
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from signet_torchserve import socket_folder
from signet_torchserve.archive import digest
from signet_torchserve.revision import Revision

logger = logging.getLogger(__name__)

KEPT_ARCHIVES = 2
_FORMAT = 1
"""The format of the state files. A file of another format is discarded: its content is asked for or built anew."""
_REVISION = "revision.json"
_SHORT_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_UNUSUAL = re.compile(r"[^A-Za-z0-9_-]")


class Store:
    """The first folder `replica-1`, `replica-2`, … that no running replica has.

    Replicas may share a volume. After a restart a replica finds what it has left there, or what another one has.

    Attributes:
        replica: the replica's name in the registry: the same after a restart, and no other replica's, though on another
            machine a replica may have a folder of the same number.
        sockets: the folder in which this replica's processes listen.
        management: where TorchServe's management API listens: a socket in that folder, or a port.

    Args:
        home: where these folders lie; made if it is missing.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, home: Path) -> None:
        self.home, self._lock = _first_free(home)
        self.replica = _replica_name(self.home)
        self.archives = self.home / "archives"
        self.temporary = self.home / "tmp"
        self._last_desired = _Revisions(self.home / "desired.json")
        self._last_good = _Revisions(self.home / "served.json")
        # Left behind by a TorchServe that was killed: what it had unpacked, half-made archives, half-done downloads.
        shutil.rmtree(self.temporary, ignore_errors=True)
        for folder in (self.archives, self.temporary):
            folder.mkdir(parents=True, exist_ok=True)
        self.temporary.chmod(0o700)
        self.sockets = socket_folder.begin(self.home)
        self.management = socket_folder.management(self.sockets)
        # Deletes that folder when the store is closed, or this process ends.
        self._end_sockets = weakref.finalize(self, socket_folder.end, self.sockets)
        for path in self.archives.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)

    def archive(self, name: str, revision: Revision) -> Path:
        """Where the archive of a model version, served as its tags say, lies or would lie."""
        return self.archives / f"{stem(name)}@{revision.id}.mar"

    def unpacked(self, name: str, revision_id: str) -> Path:
        """Where the files of a revision that is served lie."""
        return self.archives / f"{stem(name)}@{revision_id}"

    def write_manifest(self, name: str, revision: Revision) -> None:
        """Note the digest of a version's archive, and which model it is of: from now on the archive is cached."""
        mar = self.archive(name, revision)
        _write(_manifest(mar), {"created": revision.created, "sha256": digest.of_file(mar)})

    def is_cached(self, name: str, revision: Revision) -> bool:
        """Whether a version's archive is there with its manifest, and is not of an earlier model of the same name."""
        mar = self.archive(name, revision)
        return mar.exists() and _read(_manifest(mar)).get("created") == revision.created

    def unpack(self, name: str, revision: Revision) -> Path | None:
        """Unpack a version's archive; returns the folder. One that is not cached or was changed is deleted: None."""
        mar = self.archive(name, revision)
        if not self.is_cached(name, revision) or _read(_manifest(mar))["sha256"] != digest.of_file(mar):
            self._delete(mar)
            return None
        os.utime(mar)
        folder = self.unpacked(name, revision.id)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with zipfile.ZipFile(mar) as archive:
                archive.extractall(folder)
            _write(folder / _REVISION, asdict(revision))
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)  # on a full disk others need the room
            raise
        return folder

    def unpacked_revision(self, name: str, revision_id: str) -> Revision | None:
        """Which revision the unpacked files are of; None if there are none."""
        document = _read(self.unpacked(name, revision_id) / _REVISION)
        return Revision(**document) if document else None

    def discard(self, name: str, revision_id: str) -> None:
        """Delete the files of a revision that is not served any more; its archive stays, as the one last used."""
        shutil.rmtree(self.unpacked(name, revision_id), ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.archives / f"{stem(name)}@{revision_id}.mar")

    def prune(self, name: str, keep: set[str]) -> None:
        """Delete a model's archives, but for those of `keep` and the last used others up to `KEPT_ARCHIVES`."""
        archives = self._archives_of(stem(name))
        archives.sort(key=lambda path: (path.stem.rpartition("@")[2] in keep, path.stat().st_mtime), reverse=True)
        for path in archives[max(KEPT_ARCHIVES, len(keep)) :]:
            self._delete(path)

    def stems(self) -> frozenset[str]:
        """The stems of all models that have archives."""
        return frozenset(map(_stem_of, self.archives.glob("*.mar")))

    def delete_archives(self, of_stem: str) -> None:
        """Delete all archives of a model, by the stem of its name."""
        for path in self._archives_of(of_stem):
            self._delete(path)

    def note_last_desired(self, revisions: Mapping[str, Revision]) -> None:
        """Keep what the registry last asked for, for a start without it."""
        self._last_desired.keep(revisions)

    def last_desired(self) -> dict[str, Revision]:
        """What the registry last asked for, by name of the deployment; nothing if that was never learnt."""
        return self._last_desired.kept()

    def note_last_good(self, revisions: Mapping[str, Revision]) -> None:
        """Keep what serves, for a start at which the registry asks for something that cannot be served."""
        self._last_good.keep(revisions)

    def last_good(self) -> dict[str, Revision]:
        """What served last, by name of the deployment."""
        return self._last_good.kept()

    def unpack_last_good(
        self, reserve: Callable[[Path, Revision], bool] = lambda _archive, _revision: True
    ) -> dict[str, Revision]:
        """The versions that served last and can serve again at once; their files lie unpacked.

        Args:
            reserve: reserves memory for the version of an archive; False if there is too little.
        """
        unpacked = {}
        for name, revision in self.last_good().items():
            try:
                if self.is_cached(name, revision) and not reserve(self.archive(name, revision), revision):
                    logger.warning("%s version %s does not start: there is no memory for it.", name, revision.id)
                elif self.unpack(name, revision):
                    unpacked[name] = revision
            except OSError as error:
                logger.warning("%s version %s cannot be unpacked: %s", name, revision.id, error)
        return unpacked

    def close(self) -> None:
        """Leave the folder to others; a process that ends does so, too."""
        self._end_sockets()
        self._lock.close()

    def _archives_of(self, of_stem: str) -> list[Path]:
        return [path for path in self.archives.glob("*.mar") if _stem_of(path) == of_stem]

    @staticmethod
    def _delete(mar: Path) -> None:
        mar.unlink(missing_ok=True)
        _manifest(mar).unlink(missing_ok=True)


def _first_free(home: Path) -> tuple[Path, IO[str]]:
    for number in itertools.count(1):
        folder = home / f"replica-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            return folder, lock
    raise AssertionError("there is always another number")


def _replica_name(home: Path) -> str:
    path = home / "replica.json"
    known = _read(path).get("replica")
    if isinstance(known, str):
        return known
    replica = f"{home.name}-{secrets.token_hex(3)}"
    _keep(path, {"replica": replica})
    return replica


def stem(name: str) -> str:
    """The stem of a deployment's file names: short, and another one for each name, whatever its characters."""
    if _SHORT_NAME.fullmatch(name):
        return name
    return f"{_UNUSUAL.sub('_', name)[:32]}~{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def _stem_of(mar: Path) -> str:
    return mar.stem.rpartition("@")[0]


def _manifest(mar: Path) -> Path:
    return mar.with_suffix(".manifest")


class _Revisions:
    """Revisions by name in a state file, and in memory: to read or write hundreds takes as long as a look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: dict[str, Revision] | None = None

    def kept(self) -> dict[str, Revision]:
        if self._kept is None:
            found = _read(self._path).get("revisions", {})
            self._kept = {name: Revision(**revision) for name, revision in found.items()}
        return dict(self._kept)

    def keep(self, revisions: Mapping[str, Revision]) -> None:
        if revisions == self.kept():
            return
        if _keep(self._path, {"revisions": {name: asdict(revision) for name, revision in revisions.items()}}):
            self._kept = dict(revisions)


def _read(path: Path) -> dict[str, Any]:
    """What a state file holds; nothing if it is missing, damaged or of another format."""
    try:
        document = json.loads(path.read_text("utf-8"))
        found = document.pop("format", None)
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, TypeError) as error:
        logger.warning("%s is damaged and is discarded: %s", path.name, error)
        return {}
    if found != _FORMAT:
        logger.warning("%s has the format %s: expected %s. It is discarded.", path.name, found, _FORMAT)
        return {}
    return document  # type: ignore[no-any-return]  # json.loads returns Any


def _keep(path: Path, document: Mapping[str, Any]) -> bool:
    """Write a state file, if that can be done: on a full disk, what is served goes on being served."""
    try:
        _write(path, document)
    except OSError as error:
        logger.warning("%s cannot be kept: %s", path.name, error)
        return False
    return True


def _write(path: Path, document: Mapping[str, Any]) -> None:
    text = json.dumps({"format": _FORMAT, **document}, indent=1, sort_keys=True)
    with contextlib.suppress(FileNotFoundError):
        if path.read_text("utf-8") == text:
            return
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, "utf-8")
    os.replace(temporary, path)  # noqa: PTH105 -- atomic: a reader sees the old text or the new one
