"""Tells the registry what became of each version, and corrects what it says otherwise.

Each replica writes its own status into a tag of the registered model, `serving.replica.<name>`. From the tags of all
replicas each of them makes the version's `serving.status` and `serving.reason`.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from signet_torchserve.control.controller_status import Status
from signet_torchserve.control.presence import Presence
from signet_torchserve.control.replica_status import ReplicaStatus, summary
from signet_torchserve.registry.client import Registry
from signet_torchserve.registry.errors import RegistryDenied, RegistryRefused, RegistryUnreachable
from signet_torchserve.revision import REASON, REPLICA, SERVED_AT, STATUS, Revision, served_at

logger = logging.getLogger(__name__)

MAX_TELLING_S = 0.25  # at each look: five hundred versions must keep no rollout waiting
BUSY_SHARE = 0.05  # of the time, while versions come into service: what is told would slow these down
DENIED_PAUSE_S = 60  # until a model's tags are written again where the account may not
HELD_BACK_S = 1.0  # a new reason for `pending` is told once it is that old: a final status may follow first
_REASONS = {
    "pending": "it waits for its turn",
    "ready": "answers on this replica",
    "refused": "it is refused",
    "failed": "it has failed",
}


@dataclass(slots=True)
class _Note:
    """What is to be told of a deployment on this replica."""

    revision: Revision
    entry: ReplicaStatus
    tags: Mapping[str, str]
    """Further tags of the version, until they are told."""
    since: float = field(default_factory=time.monotonic)

    def is_held_back(self, said: ReplicaStatus | None) -> bool:
        """Whether to hold this back: only the reason for `pending` is new, and younger than `HELD_BACK_S`."""
        if said is None or said == self.entry:
            return False
        is_same = (said.version, said.status) == (self.entry.version, self.entry.status)
        return is_same and said.status == "pending" and time.monotonic() - self.since < HELD_BACK_S


@dataclass(slots=True)
class _Told:
    """What the registry says of a deployment: what was read of it, and what it was told since."""

    read: Revision
    """The version with its tags, as it was read."""
    entries: dict[str, ReplicaStatus]
    """What each replica says, by its name."""
    summary: tuple[str | None, str | None]
    """Status and reason of the version, for all replicas."""

    @classmethod
    def by(cls, revision: Revision) -> _Told:
        texts = {tag.removeprefix(REPLICA): text for tag, text in revision.tags.items() if tag.startswith(REPLICA)}
        found = {replica: ReplicaStatus.read(text) for replica, text in texts.items()}
        entries = {replica: entry for replica, entry in found.items() if entry is not None}
        return cls(revision, entries, (revision.tags.get(STATUS), revision.tags.get(REASON)))


@dataclass(slots=True)
class _Deployment:
    """What is to be told of a deployment, and what came of telling it."""

    note: _Note | None = None
    """What is to be told of it; None if nothing was told yet."""
    ready_note: _Note | None = None
    """What was told when it was ready last: still true if it is ready again without a new rollout."""
    told: _Told | None = None
    refusal: str = ""
    """Why the registry refuses what it is told; empty if it does not."""
    denied_until: float = 0.0
    """Nothing is told until then, by `time.monotonic()`, because the account may not; 0 if it may."""


class StatusReporter:
    """Reports the statuses of one replica.

    Args:
        registry: where the statuses are put.
        presence: which replicas there are.
        status: where it is said that the account may not put the statuses.
    """

    def __init__(self, registry: Registry, presence: Presence, status: Status) -> None:
        self._registry = registry
        self._presence = presence
        self._status = status
        self._deployments: dict[str, _Deployment] = defaultdict(_Deployment)
        self._finals: dict[tuple[str, str], tuple[str, str]] = {}
        self._pause_ends = 0.0

    def put(
        self, name: str, revision: Revision, status: str, reason: str, tags: Mapping[str, str] | None = None
    ) -> None:
        """Note what became of the version that is desired; `tell` tells it."""
        entry = ReplicaStatus.now(revision.version, status, reason)
        served = {SERVED_AT: served_at(name, revision.version)} if status == "ready" else {}
        self._deployments[name].note = _Note(revision, entry, {**(tags or {}), **served})

    def put_final(self, name: str, revision: Revision, status: str, reason: str) -> None:
        """Note what is to be said of a version that is desired no more: `retired`, or `failed` if it never served."""
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        self._finals[name, revision.version] = status, f"{now} {self._presence.replica}: {reason}"

    def tell(self, desired: Mapping[str, Revision], states: Mapping[str, str], *, is_busy: bool = False) -> None:
        """Tell what the registry does not say yet, as much as fits into `MAX_TELLING_S`.

        What is told already costs no request, so that the next call gets further.

        Args:
            desired: the versions that ought to be served, with their tags as the registry has them.
            states: the status of each on this replica; a deployment that is not among them is left as it is.
            is_busy: whether versions come into service: then most calls tell only what corrects an untrue `ready`.
        """
        began = time.monotonic()
        is_pause = is_busy and began < self._pause_ends
        deadline = began + MAX_TELLING_S
        try:
            self._presence.look()
            for (name, version), (status, reason) in list(self._finals.items()):
                if name not in desired or desired[name].version != version:
                    self._try(name, self._registry.set_status, name, version, status, reason)
                del self._finals[name, version]
            for name in [name for name in self._deployments if name not in desired]:
                if self._deployments[name].note is not None:
                    self._try(name, self._registry.set_replica_status, name, self._presence.replica, None)
                del self._deployments[name]
            for name, status in states.items():
                is_untrue = desired[name].tags.get(STATUS) == "ready" != status
                if is_untrue or not is_pause:
                    self._try(name, self._correct, name, desired[name], status)
                if time.monotonic() > deadline:
                    break
            if not is_pause:
                now = time.monotonic()
                self._pause_ends = now + (now - began) / BUSY_SHARE
        except RegistryUnreachable as error:
            logger.warning("The registry cannot be told now what became of the versions: %s", error)
        denied = (it.refusal for name, it in self._deployments.items() if it.denied_until and name in desired)
        self._status.untold = next(denied, "")

    def _correct(self, name: str, revision: Revision, status: str) -> None:
        """Tell the registry of a deployment what it does not say yet: this replica's entry, then that of all."""
        deployment = self._deployments[name]
        told = deployment.told
        if told is None or told.read is not revision:  # each reading of the registry makes new objects
            told = deployment.told = _Told.by(revision)
        note = deployment.note = self._to_tell(deployment, revision, status, told)
        if note.is_held_back(told.entries.get(self._presence.replica)):
            return
        self._tell_entry(name, note, told)
        self._forget_gone(name, told)
        self._tell_summary(name, revision, note, told)
        if status == "ready":
            deployment.ready_note = note

    def _to_tell(self, deployment: _Deployment, revision: Revision, status: str, told: _Told) -> _Note:
        """What is to be told of a status: our own note of it, else what the registry says of it, else a new note."""
        for note in (deployment.note, deployment.ready_note):
            if note and (note.revision.identity, note.entry.status) == (revision.identity, status):
                return note
        said = told.entries.get(self._presence.replica)
        if said is not None and (said.version, said.status) == (revision.version, status):
            return _Note(revision, said, {})
        return _Note(revision, ReplicaStatus.now(revision.version, status, _REASONS[status]), {})

    def _tell_entry(self, name: str, note: _Note, told: _Told) -> None:
        """Tell what this replica says."""
        replica = self._presence.replica
        if told.entries.get(replica) != note.entry or note.tags:
            self._registry.set_replica_status(name, replica, str(note.entry))
            told.entries[replica] = note.entry

    def _forget_gone(self, name: str, told: _Told) -> None:
        """Take away what replicas say that are gone."""
        self._presence.meet(told.entries)
        for gone in told.entries.keys() - self._presence.among(set(told.entries)):
            self._registry.set_replica_status(name, gone, None)
            del told.entries[gone]

    def _tell_summary(self, name: str, revision: Revision, note: _Note, told: _Told) -> None:
        """Tell what the entries of all replicas come to, and with it what else there is to say of the version."""
        present = self._presence.among({it for it, entry in told.entries.items() if entry.version == revision.version})
        of_all = summary(revision.version, told.entries, present)
        if of_all != told.summary or note.tags:
            news = {tag: value for tag, value in note.tags.items() if revision.tags.get(tag) != value}
            self._registry.set_status(name, revision.version, *of_all, news)
            told.summary, note.tags = of_all, {}

    def _try(self, name: str, act: Callable[..., None], *args: object) -> None:
        """Do what may be refused for one model without harm to the others; the log has it once."""
        deployment = self._deployments[name]
        if time.monotonic() < deployment.denied_until:
            return
        try:
            act(*args)
        except RegistryRefused as error:
            if deployment.refusal != str(error):
                logger.warning("The registry refuses what is told of %s: %s", name, error)
            deployment.refusal = str(error)
            if isinstance(error, RegistryDenied):
                deployment.denied_until = time.monotonic() + DENIED_PAUSE_S
        else:
            deployment.refusal, deployment.denied_until = "", 0.0
