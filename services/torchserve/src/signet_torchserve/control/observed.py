"""What one replica has: the versions that the model server serves, what lies on disk, and what is going on.

The model server lists the default versions of all models in one call, and describes one model's workers in another. A
look takes the list, and describes only the models where something is going on or has changed. The others are described
again in turn, a few at each look: with up to ten models a change by hand is seen within two poll intervals.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from signet_torchserve.archive.store import Store
from signet_torchserve.revision import Revision
from signet_torchserve.server.model_server import PLACEHOLDER, ModelServer

DESCRIBED_AFTER = 1.5  # poll intervals, at least
MAX_DESCRIBED = 10  # settled models of a look: each costs a call, and hundreds would keep both sides busy


@dataclass(frozen=True, slots=True)
class Version:
    """A version that the model server has."""

    revision: Revision | None
    """What it is, by the files that it was registered with; None if nobody knows."""
    workers: int = 1
    """How many it should have."""
    is_idle: bool = True
    """Whether no request waits for it and no worker is at work."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model that the model server has."""

    default: str | None
    """Revision that answers requests without a version; None while nothing but the placeholder is there."""
    versions: Mapping[str, Version]
    """By the revision's `id`."""

    @property
    def revision(self) -> Revision | None:
        """What answers."""
        version = None if self.default is None else self.versions.get(self.default)
        return version.revision if version else None


@dataclass(frozen=True, slots=True)
class RunningRollout:
    """A rollout that is not over."""

    name: str
    revision: Revision
    kind: str
    is_cancelled: bool = False


@dataclass(frozen=True, slots=True)
class RunningDrain:
    """A version that ends when it is idle."""

    since: float
    was_idle: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """What one replica has, as of one look."""

    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    rollouts: Sequence[RunningRollout] = ()
    proven: AbstractSet[tuple[str, tuple[int, str]]] = frozenset()
    """Name and identity of revisions that have come up, with their golden answers, since this controller started."""
    draining: Mapping[tuple[str, str], RunningDrain] = field(default_factory=dict)
    """By name and `id` of the revision."""
    ending: AbstractSet[tuple[str, str]] = frozenset()
    """Name and `id` of revisions with a task that runs: they are being removed, or given other workers."""
    cached: AbstractSet[tuple[str, tuple[int, str]]] = frozenset()
    """Name and identity of revisions whose archives lie on disk, of those that are to serve and do not."""
    last_good: Mapping[str, Revision | None] = field(default_factory=dict)
    """What served last, here or on any replica, by name; None where nothing has; absent where nobody has asked yet."""
    archived: AbstractSet[str] = frozenset()
    """Stems of the models that have archives on disk."""

    def answering(self) -> dict[str, Revision]:
        """What answers, by name of the deployment."""
        return {name: it.revision for name, it in self.deployments.items() if it.revision is not None}

    def answers_for(self, name: str) -> Revision | None:
        """What answers for a deployment."""
        deployment = self.deployments.get(name)
        return deployment.revision if deployment else None

    def serves(self, name: str, revision: Revision) -> bool:
        """Whether a revision answers, and has proven that it may."""
        answers = self.answers_for(name)
        is_it = answers is not None and answers.identity == revision.identity
        return is_it and (name, revision.identity) in self.proven


class Observer:
    """Looks at one model server.

    Args:
        server: serves.
        store: has the files of what it serves.
        interval_s: seconds between two looks when nothing is going on.
    """

    def __init__(self, server: ModelServer, store: Store, interval_s: float) -> None:
        self._server = server
        self._store = store
        self._interval_s = interval_s
        self._seen: dict[str, tuple[float, Deployment]] = {}

    def deployments(self, under_way: AbstractSet[str]) -> dict[str, Deployment]:
        """What the model server has, by name.

        Args:
            under_way: models where something is going on, which are described at each look.

        Raises:
            ModelServerError: it does not answer.
        """
        now = time.monotonic()
        defaults = self._server.defaults()
        for name in self._seen.keys() - defaults.keys():
            del self._seen[name]
        is_due_before = now - DESCRIBED_AFTER * self._interval_s
        due = sorted((at, name) for name, (at, _) in self._seen.items() if at < is_due_before)[:MAX_DESCRIBED]
        in_turn = {name for _, name in due}
        for name, listed in defaults.items():
            default = None if listed == PLACEHOLDER else listed
            _, seen = self._seen.get(name, (0.0, None))
            if seen is None or seen.default != default or name in under_way or name in in_turn:
                versions = {
                    revision_id: Version(self._store.unpacked_revision(name, revision_id), it.workers, it.is_idle)
                    for revision_id, it in self._server.versions(name).items()
                }
                self._seen[name] = now, Deployment(default, versions)
        return {name: deployment for name, (_, deployment) in self._seen.items()}

    def cached(
        self, revisions: Iterable[tuple[str, Revision | None]], in_service: AbstractSet[tuple[str, tuple[int, str]]]
    ) -> set[tuple[str, tuple[int, str]]]:
        """Name and identity of the revisions whose archives lie on disk; for those in service nobody looks."""
        found = {(name, it.identity): it for name, it in revisions if it is not None}
        return {key for key in found.keys() - in_service if self._store.is_cached(key[0], found[key])}
