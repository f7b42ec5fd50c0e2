"""Tells the registry what became of each version, and corrects what it says otherwise.

Each replica tells for itself on the registered model (`serving.replica.<name>`); what all of them have told comes to
the version's `serving.status` and `serving.reason`, which any of them writes.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from signet_torchserve.control.controller_status import Status
from signet_torchserve.control.presence import Presence
from signet_torchserve.control.registry import Registry, RegistryDenied, RegistryRefused, RegistryUnreachable, served_at
from signet_torchserve.control.replica_status import ReplicaStatus, summary
from signet_torchserve.revision import REASON, REPLICA, SERVED_AT, STATUS, Revision

logger = logging.getLogger(__name__)

# At each look: five hundred versions must keep no rollout waiting.
LONGEST_S = 0.25
DENIED_S = 60  # until a model's tags are written again where the account may not
BRIEF_S = 1.0  # a new reason for `pending` is told once it has held as long
_REASONS = {
    "pending": "it waits for its turn",
    "ready": "answers on this replica",
    "refused": "it is refused",
    "failed": "it has failed",
}


@dataclass(slots=True)
class _Note:
    revision: Revision
    entry: ReplicaStatus
    tags: Mapping[str, str]
    is_told: bool = False
    since: float = field(default_factory=time.monotonic)
    listed: Revision | None = None
    """The revision as the registry listed it when it was told: the same object until the registry is read again."""
    summary: tuple[str, str] | None = None
    """Status and reason that the registry was told then."""

    def is_of(self, revision: Revision, status: str) -> bool:
        return self.entry.status == status and self.revision.identity == revision.identity

    def is_brief(self, said: ReplicaStatus) -> bool:
        """Whether the registry has the same status, and soon another may follow that has to be told anyway."""
        is_same = said.version == self.entry.version and said.status == self.entry.status
        return is_same and said.status == "pending" and time.monotonic() - self.since < BRIEF_S


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
        self._notes: dict[str, _Note] = {}
        self._served: dict[str, _Note] = {}
        self._finals: dict[tuple[str, str], tuple[str, str]] = {}
        self._refused: dict[str, str] = {}
        self._denied: dict[str, float] = {}

    def put(
        self, name: str, revision: Revision, status: str, reason: str, tags: Mapping[str, str] | None = None
    ) -> None:
        """Note what became of the version that is wanted; `tell` tells it."""
        entry = ReplicaStatus.now(revision.version, status, reason)
        served = {SERVED_AT: served_at(name, revision.version)} if status == "ready" else {}
        self._notes[name] = _Note(revision, entry, {**(tags or {}), **served})

    def put_final(self, name: str, revision: Revision, status: str, reason: str) -> None:
        """Note what is to be said of a version that is wanted no more: `retired`, or `failed` if it never served."""
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        self._finals[name, revision.version] = status, f"{now} {self._presence.replica}: {reason}"

    def tell(self, wanted: Mapping[str, Revision], states: Mapping[str, str]) -> None:
        """Tell what the registry does not say yet, as much as fits into `LONGEST_S`; the next call goes on.

        Args:
            wanted: the versions that ought to be served, with their tags as the registry has them.
            states: the status of each on this replica; a deployment that is not among them is left as it is.
        """
        deadline = time.monotonic() + LONGEST_S
        try:
            self._presence.look()
            for (name, version), (status, reason) in list(self._finals.items()):
                if name not in wanted or wanted[name].version != version:
                    self._try(name, self._registry.set_status, name, version, status, reason)
                del self._finals[name, version]
            for name in [name for name in self._notes if name not in wanted]:
                self._try(name, self._registry.tell, name, self._presence.replica, None)
                del self._notes[name]
                self._served.pop(name, None)
            for name, status in states.items():
                self._try(name, self._follow, name, wanted[name], status)
                if time.monotonic() > deadline:
                    break
        except RegistryUnreachable as error:
            logger.warning("The registry cannot be told now what became of the versions: %s", error)
        self._denied = {name: until for name, until in self._denied.items() if name in wanted}
        self._status.untold = next((self._refused[name] for name in self._denied), "")

    def _follow(self, name: str, revision: Revision, status: str) -> None:
        """Put right what the registry says of the version that is wanted."""
        replica, entries = self._presence.replica, _entries(revision)
        said = entries.get(replica)
        note = self._note(name, revision, status, said)
        is_listed_before = note.listed is revision
        is_news = not note.is_told or (said != note.entry and not is_listed_before)
        if is_news and said is not None and note.is_brief(said):
            return
        entries[replica] = note.entry
        if is_news:
            self._registry.tell(name, replica, str(note.entry))
        self._presence.meet(entries)
        of_version = {other for other, entry in entries.items() if entry.version == revision.version}
        present = self._presence.among(of_version)
        if self._presence.is_known:
            for gone in entries.keys() - present:
                self._registry.tell(name, gone, None)
        of_all = summary(revision.version, entries, present)
        told = note.summary if is_listed_before else (revision.tags.get(STATUS), revision.tags.get(REASON))
        if is_news or of_all != told:
            news = {tag: value for tag, value in note.tags.items() if revision.tags.get(tag) != value}
            self._registry.set_status(name, revision.version, *of_all, news if is_news else None)
            note.listed, note.summary = revision, of_all
        note.is_told, note.tags = True, {}
        if status == "ready":
            self._served[name] = note

    def _note(self, name: str, revision: Revision, status: str, said: ReplicaStatus | None) -> _Note:
        """What to tell: our last note if of this status, else what the registry says if that is, else a new note."""
        for note in (self._notes.get(name), self._served.get(name)):
            if note is not None and note.is_of(revision, status):
                break
        else:
            stands = said is not None and (said.version, said.status) == (revision.version, status)
            entry = said if said and stands else ReplicaStatus.now(revision.version, status, _REASONS[status])
            note = _Note(revision, entry, {}, is_told=stands)
        self._notes[name] = note
        return note

    def _try(self, name: str, act: Callable[..., None], *args: object) -> None:
        """Do what may be refused for one model without harm to the others; the log has it once."""
        if name in self._denied and time.monotonic() < self._denied[name]:
            return
        try:
            act(*args)
        except RegistryRefused as error:
            if self._refused.get(name) != str(error):
                logger.warning("The registry refuses what is told of %s: %s", name, error)
            self._refused[name] = str(error)
            if isinstance(error, RegistryDenied):
                self._denied[name] = time.monotonic() + DENIED_S
        else:
            self._refused.pop(name, None)
            self._denied.pop(name, None)


def _entries(revision: Revision) -> dict[str, ReplicaStatus]:
    texts = {tag.removeprefix(REPLICA): text for tag, text in revision.tags.items() if tag.startswith(REPLICA)}
    found = {replica: ReplicaStatus.read(text) for replica, text in texts.items()}
    return {replica: entry for replica, entry in found.items() if entry is not None}
