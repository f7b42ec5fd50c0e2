"""Makes TorchServe serve what the registry wants: it compares the two and begins what is missing, again and again.

A new version is fetched, built and loaded while the agent looks on: so no model, however large, keeps another one's
rollback waiting. New versions come into service one after another, so that thirty at once do not starve what serves.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from signet_torchserve.archive.store import Store
from signet_torchserve.control.backoff import Pauses
from signet_torchserve.control.desired import Desired
from signet_torchserve.control.draining import Draining
from signet_torchserve.control.presence import Presence
from signet_torchserve.control.registry import Registry, RegistryError, RegistryRefused, RegistryUnreachable
from signet_torchserve.control.rollout import Rollout, Superseded
from signet_torchserve.control.status import Status
from signet_torchserve.control.status_reporter import Marks
from signet_torchserve.control.supervision import keep_going
from signet_torchserve.errors import DigestDiffers, FilesIncomplete, NotServable
from signet_torchserve.revision import Revision
from signet_torchserve.server.client import TorchServe, TorchServeError

logger = logging.getLogger(__name__)

LOOK_S = 0.25  # while a version comes into service or ends
LOOK_SHARE = 0.2  # of the time then, at most: with many models a look takes the registry a while
STOP_S = 0.2  # the agent hears that it is to stop within as long
AT_ONCE = {"back": 4, "new": 1}
_TOLD_AS = {"unreachable": "pending"}


class Agent:
    """Follows the registry with one TorchServe.

    Args:
        registry: says which version of each model ought to be served.
        torchserve: serves them.
        store: keeps their archives.
        status: where to tell what is served.
        poll_interval_s: seconds between two looks at the registry.
        started: what `torchserve` was started with, by name of the deployment. Its workers may not be up yet.
    """

    def __init__(  # noqa: PLR0913, PLR0917 -- all that takes part in it
        self,
        registry: Registry,
        torchserve: TorchServe,
        store: Store,
        status: Status,
        poll_interval_s: float,
        started: Mapping[str, Revision] | None = None,
    ) -> None:
        self._registry = registry
        self._torchserve = torchserve
        self._store = store
        self._status = status
        self._poll_interval_s = poll_interval_s
        self._started = started or {}
        self._live: dict[str, Revision] = {}
        self._rollouts: dict[str, tuple[str, Rollout]] = {}
        self._superseded: dict[tuple[str, str], Rollout] = {}
        self._draining = Draining(torchserve)
        self._presence = Presence(registry, store.replica)
        self._marks = Marks(registry, self._presence)
        self._pauses = Pauses()
        self._desired = Desired(registry, store, status)
        self._has_to_wait = False
        self._wake = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Reconcile until `stop` is set, whatever goes wrong."""
        self.resume()
        keep_going("The agent", self.reconcile, self._status, stop, lambda seconds: self.rest(seconds, stop))
        self._presence.leave()

    def rest(self, seconds: float, stop: threading.Event | None = None) -> None:
        """Wait so long, or until a rollout ends, or until `stop` is set."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not (stop and stop.is_set()):
            if self._wake.wait(min(left, STOP_S)):
                break
        self._wake.clear()

    def resume(self) -> None:
        """Take over what TorchServe was started with, before the registry is asked: it may not answer for long."""
        for name, revision in self._started.items():
            with self._apart(name):
                self._resume(name, revision)
        self._report(dict(self._started))

    def reconcile(self) -> float:
        """Begin, go on with and end what differs between what is wanted and what is served.

        Returns:
            Seconds until the next look: few while there is more to do; more and more, and another number for each
            replica, while the registry does not answer.
        """
        self._end_rollouts()
        wanted = self._desired.look(self._live)
        if not self._desired.failures:
            self._pauses.keep(wanted)
        self._report(wanted)
        self._withdraw_unwanted(wanted)
        self._take_over_tags(wanted)
        self._begin_rollouts(wanted)
        self._end_idle()
        self._report(wanted)
        if not self._desired.failures:
            known = wanted.keys() - self._status.stranded.keys()
            states = {name: self._state(name, wanted[name]) for name in sorted(known)}
            self._marks.tell(wanted, {name: _TOLD_AS.get(state, state) for name, state in states.items()})
        if self.is_busy:
            return min(max(LOOK_S, self._desired.look_took_s / LOOK_SHARE), self._poll_interval_s)
        return self._desired.backoff_s(self._poll_interval_s)

    @property
    def is_busy(self) -> bool:
        """Whether versions come into service or end, or are about to."""
        return bool(self._has_to_wait or self._rollouts or self._superseded or self._draining)

    def _end_rollouts(self) -> None:
        """Take note of what became of the rollouts that are over."""
        for name, revision_id in [key for key, rollout in self._superseded.items() if rollout.is_over]:
            self._take_down(name, self._superseded.pop((name, revision_id)))
        for name in [name for name, (_, rollout) in self._rollouts.items() if rollout.is_over]:
            _, rollout = self._rollouts.pop(name)
            if rollout.error is None:
                account = rollout.account()
                logger.info("%s version %s answers after %s.", name, rollout.revision.id, account)
                self._replace(name, rollout.revision)
                reason = f"answers on this replica after {account}"
                self._marks.put(name, rollout.revision, "ready", reason, rollout.tags)
            else:
                self._take_down(name, rollout)
                self._give_up(name, rollout, rollout.error)

    def _withdraw_unwanted(self, wanted: Mapping[str, Revision]) -> None:
        for name, (_, rollout) in list(self._rollouts.items()):
            revision = wanted.get(name)
            if revision is not None and revision.identity == rollout.revision.identity:
                continue
            superseded = Superseded(revision.version if revision else None)
            if not rollout.is_over and rollout.cancel(superseded):
                del self._rollouts[name]
                self._superseded[name, rollout.revision.id] = rollout
                if revision is None or revision.version != rollout.revision.version:
                    self._give_up(name, rollout, superseded)
        for name, revision in list(self._live.items()):
            # A model that was deleted and made anew is another one: nothing of the old one may answer for it.
            if name not in wanted or wanted[name].created != revision.created:
                logger.info("%s has no champion any more and is withdrawn.", name)
                self._store.note_served(name, None)
                self._draining.add(name, self._live.pop(name))
                if name not in wanted:
                    self._marks.bid_farewell(name, revision, "retired", "the alias was taken away")

    def _begin_rollouts(self, wanted: Mapping[str, Revision]) -> None:
        """Begin what may: what serves goes before what is new, what lies in the store before what must be fetched."""
        self._has_to_wait = False
        missing = [
            (name not in self._live, not self._store.is_at_hand(name, revision), name)
            for name, revision in wanted.items()
            if not (self._serves(name, revision) or name in self._rollouts) and self._pauses.is_due(name, revision)
        ]
        for is_new, must_be_made, name in sorted(missing):
            revision, kind = wanted[name], "new" if is_new or must_be_made else "back"
            if (
                sum(other == kind for other, _ in self._rollouts.values()) >= AT_ONCE[kind]
                or (name, revision.id) in self._superseded  # its place in TorchServe is not free yet
                or not self._draining.take_back(name, revision)
            ):
                self._has_to_wait = True
                continue
            with self._apart(name, revision):
                if is_new and not (revision.has_served and not must_be_made):
                    self._restore(name, revision)
                self._begin(kind, name, revision)

    def _begin(self, kind: str, name: str, revision: Revision) -> None:
        logger.info("Deploying %s version %s.", name, revision.id)
        if self._pauses.outcome(name, revision) == "pending":
            self._marks.put(name, revision, "pending", "it is being deployed")
        rollout = self._rollout(name, revision)
        self._rollouts[name] = kind, rollout
        rollout.begin(self._wake.set, is_asked_for=not self._desired.failures)

    def _restore(self, name: str, revision: Revision) -> None:
        """Let what served last serve until the champion does, which no replica has proven yet."""
        try:
            last = self._store.last_served().get(name) or self._registry.last_served(name)
        except RegistryError:
            return
        if last is not None and last.created == revision.created and last.id != revision.id:
            self._resume(name, last)

    def _resume(self, name: str, revision: Revision) -> None:
        rollout = self._rollout(name, revision)
        try:
            rollout.run()
        except (NotServable, FilesIncomplete, RegistryError, TorchServeError, OSError) as error:
            logger.warning("%s version %s, which served last, cannot serve now: %s", name, revision.id, error)
            self._take_down(name, rollout)
        else:
            logger.info("%s version %s, which served last, serves again.", name, revision.id)
            self._replace(name, revision)

    def _rollout(self, name: str, revision: Revision) -> Rollout:
        live = self._live.get(name)
        return Rollout(
            name, revision, live=live, registry=self._registry, torchserve=self._torchserve, store=self._store
        )

    def _replace(self, name: str, revision: Revision) -> None:
        replaced = self._live.get(name)
        self._live[name] = revision
        self._store.note_served(name, revision)
        if replaced is not None:
            self._draining.add(name, replaced)
            if replaced.version != revision.version and replaced.created == revision.created:
                self._marks.bid_farewell(name, replaced, "retired", f"version {revision.version} has taken its place")

    def _take_down(self, name: str, rollout: Rollout) -> None:
        """End a version that did not come into service; one that was draining may still have answers to give."""
        if rollout.is_registered:
            self._draining.add(name, rollout.revision)

    def _end_idle(self) -> None:
        """End what has answered all that it had begun with, and delete its files."""
        for name, revision in self._draining.versions():
            with self._apart(name):
                if self._draining.end_if_idle(name, revision.id):
                    self._store.discard(name, revision.id)
                    self._store.prune(name, keep={self._live[name].id} if name in self._live else set())

    def _give_up(self, name: str, rollout: Rollout, error: Exception) -> None:
        """Say what became of a version that did not come into service, and when it is tried again."""
        revision = rollout.revision
        if isinstance(error, RegistryUnreachable):
            logger.warning("%s version %s cannot be fetched now: %s", name, revision.id, error)
            self._pauses.unreachable(name, revision)
            self._marks.put(name, revision, "pending", f"its files cannot be fetched now: {error}")
            return
        status = "refused" if isinstance(error, NotServable) else "failed"
        is_known = isinstance(
            error, (NotServable, FilesIncomplete, Superseded, TorchServeError, RegistryRefused, OSError)
        )
        reason = str(error) if is_known else repr(error)
        goes_on = f" Version {self._live[name].id} goes on." if name in self._live else ""
        what = f"{name} version {revision.id} is {status}"
        logger.error("%s: %s%s", what, reason, goes_on, exc_info=None if is_known else error)
        if isinstance(error, Superseded):
            self._marks.bid_farewell(name, revision, status, reason)
            return
        if status == "refused" and not isinstance(error, DigestDiffers):
            self._pauses.refused(name, revision)
        else:
            self._pauses.failed(name, revision, status)
        self._marks.put(name, revision, status, reason, rollout.tags)

    def _take_over_tags(self, wanted: Mapping[str, Revision]) -> None:
        """Take over tags that change nothing."""
        self._live |= {name: revision for name, revision in wanted.items() if self._serves(name, revision)}

    def _serves(self, name: str, revision: Revision) -> bool:
        return name in self._live and self._live[name].identity == revision.identity

    def _state(self, name: str, revision: Revision) -> str:
        return "ready" if self._serves(name, revision) else self._pauses.outcome(name, revision)

    @contextmanager
    def _apart(self, name: str, revision: Revision | None = None) -> Iterator[None]:
        """Keep what goes wrong with one deployment from the others; a champion waits before it is tried again."""
        try:
            yield
        except TorchServeError as error:
            logger.warning("%s: %s", name, error)
        except Exception as error:
            logger.exception("Something is wrong with %s; the others go on.", name)
            self._status.note_error(name, error)
            if revision is not None:
                self._pauses.failed(name, revision)
                self._marks.put(name, revision, "failed", repr(error))
        else:
            self._status.settle(name)

    def _report(self, wanted: Mapping[str, Revision]) -> None:
        states = {name: self._state(name, revision) for name, revision in sorted(wanted.items())}
        self._status.tell(
            deployments={name: revision.id for name, revision in self._live.items()},
            pending=[name for name, state in states.items() if state == "pending"],
            failed=[name for name, state in states.items() if state in {"failed", "unreachable"}],
            refused=[name for name, state in states.items() if state == "refused"],
        )
