"""Makes TorchServe serve what the registry wants: it compares the two and begins what is missing, again and again.

A new version is fetched, built and loaded while the agent looks on: so no model, however large, keeps another one's
rollback waiting. New versions come into service one after another, so that thirty at once do not starve what serves.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Mapping

from signet_torchserve import archive
from signet_torchserve.champion import STATUS, Champion
from signet_torchserve.draining import Draining
from signet_torchserve.errors import NotServable
from signet_torchserve.management import TorchServe, TorchServeError
from signet_torchserve.marks import Marks
from signet_torchserve.pauses import Pauses
from signet_torchserve.registry import Registry, RegistryUnreachable
from signet_torchserve.rollout import Rollout, Superseded
from signet_torchserve.status import Status
from signet_torchserve.store import Store

logger = logging.getLogger(__name__)

LOOK_S = 0.25  # while a version comes into service or ends
LOOK_SHARE = 0.2  # of the time then, at most: with many models a look takes the registry a while
MAX_BACKOFF_S = 5.0
AT_ONCE = {"back": 4, "new": 1}


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
        started: Mapping[str, Champion] | None = None,
    ) -> None:
        self._registry = registry
        self._torchserve = torchserve
        self._store = store
        self._status = status
        self._poll_interval_s = poll_interval_s
        self._started = started or {}
        self._live: dict[str, Champion] = {}
        self._rollouts: dict[str, tuple[str, Rollout]] = {}
        self._superseded: dict[tuple[str, str], Rollout] = {}
        self._draining = Draining(torchserve)
        self._marks = Marks(registry)
        self._pauses = Pauses()
        self._has_to_wait = False
        self._failures = 0
        self._look_took_s = 0.0
        self._wake = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Reconcile until `stop` is set."""
        self.resume()
        while not stop.is_set():
            self.rest(self.reconcile())

    def rest(self, seconds: float) -> None:
        """Wait so long, or until a rollout ends."""
        self._wake.wait(seconds)
        self._wake.clear()

    def resume(self) -> None:
        """Take over what TorchServe was started with, before the registry is asked: it may not answer for long."""
        for name, champion in self._started.items():
            self._resume(name, champion)
        self._report(dict(self._started))

    def reconcile(self) -> float:
        """Begin, go on with and end what differs between what is wanted and what is served.

        Returns:
            Seconds until the next look: few while there is more to do; more and more, and another number for each
            replica, while the registry does not answer.
        """
        self._end_rollouts()
        wanted = self._wanted()
        self._report(wanted)
        try:
            self._withdraw_unwanted(wanted)
            for name, champion in wanted.items():
                self._follow_tags(name, champion)
            self._begin_rollouts(wanted)
            for name, revision in self._draining.end_idle():
                self._store.discard(name, revision)
                self._store.prune(name, keep={self._live[name].revision} if name in self._live else set())
        except TorchServeError as error:
            logger.warning("%s", error)
        self._report(wanted)
        if self.is_busy:
            return min(max(LOOK_S, self._look_took_s / LOOK_SHARE), self._poll_interval_s)
        if not self._failures:
            return self._poll_interval_s
        backoff: float = min(MAX_BACKOFF_S, self._poll_interval_s * 2 ** min(self._failures, 10))
        return backoff * random.uniform(0.5, 1.0)  # noqa: S311 -- spreads replicas, keeps no secret

    @property
    def is_busy(self) -> bool:
        """Whether versions come into service or end, or are about to."""
        return bool(self._has_to_wait or self._rollouts or self._superseded or self._draining)

    def _wanted(self) -> dict[str, Champion]:
        began = time.monotonic()
        try:
            champions = self._registry.champions()
        except RegistryUnreachable as error:
            if not self._failures:
                logger.warning("The registry does not answer, what is served goes on being served: %s", error)
            self._failures += 1
            self._status.registry = str(error)
            return self._store.remembered()
        if self._failures:
            logger.info("The registry answers again.")
        self._failures = 0
        self._look_took_s = time.monotonic() - began
        self._status.registry = "reachable"
        self._marks.tell(champions)
        self._store.remember(champions)
        self._pauses.keep(champions)
        return champions

    def _end_rollouts(self) -> None:
        """Take note of what became of the rollouts that are over."""
        for name, revision in [key for key, rollout in self._superseded.items() if rollout.is_over]:
            self._take_down(name, self._superseded.pop((name, revision)))
        for name in [name for name, (_, rollout) in self._rollouts.items() if rollout.is_over]:
            _, rollout = self._rollouts.pop(name)
            if rollout.error is None:
                account = rollout.account()
                logger.info("%s version %s answers after %s.", name, rollout.champion.revision, account)
                self._replace(name, rollout.champion)
                self._mark(name, rollout.champion, "ready", f"answers on this replica after {account}", rollout.tags)
            else:
                self._take_down(name, rollout)
                self._give_up(name, rollout, rollout.error)

    def _withdraw_unwanted(self, wanted: Mapping[str, Champion]) -> None:
        for name, (_, rollout) in list(self._rollouts.items()):
            champion = wanted.get(name)
            if champion is not None and champion.identity == rollout.champion.identity:
                continue
            superseded = Superseded(champion.version if champion else None)
            if not rollout.is_over and rollout.cancel(superseded):
                del self._rollouts[name]
                self._superseded[name, rollout.champion.revision] = rollout
                if champion is None or champion.version != rollout.champion.version:
                    self._give_up(name, rollout, superseded)
        for name, champion in list(self._live.items()):
            # A model that was deleted and made anew is another one: nothing of the old one may answer for it.
            if name not in wanted or wanted[name].created != champion.created:
                logger.info("%s has no champion any more and is withdrawn.", name)
                self._store.note_served(name, None)
                self._draining.add(name, self._live.pop(name))

    def _begin_rollouts(self, wanted: Mapping[str, Champion]) -> None:
        """Begin what may: what serves goes before what is new, what lies in the store before what must be fetched."""
        self._has_to_wait = False
        missing = [
            (name not in self._live, not self._store.is_at_hand(name, champion), name)
            for name, champion in wanted.items()
            if not (self._serves(name, champion) or name in self._rollouts) and self._pauses.is_due(name, champion)
        ]
        for is_new, must_be_made, name in sorted(missing):
            champion, kind = wanted[name], "new" if is_new or must_be_made else "back"
            if (
                sum(other == kind for other, _ in self._rollouts.values()) >= AT_ONCE[kind]
                or (name, champion.revision) in self._superseded  # its place in TorchServe is not free yet
                or not self._draining.take_back(name, champion)
            ):
                self._has_to_wait = True
                continue
            if is_new and not (champion.has_served and not must_be_made):
                self._restore(name, champion)
            self._begin(kind, name, champion)

    def _begin(self, kind: str, name: str, champion: Champion) -> None:
        logger.info("Deploying %s version %s.", name, champion.revision)
        if champion.tags.get(STATUS) != "ready":
            self._mark(name, champion, "pending", "it is being deployed")
        rollout = self._rollout(name, champion)
        self._rollouts[name] = kind, rollout
        rollout.begin(self._wake.set, is_asked_for=not self._failures)

    def _restore(self, name: str, champion: Champion) -> None:
        """Let what served last serve until the champion does, which no replica has proven yet."""
        try:
            last = self._store.last_served().get(name) or self._registry.last_served(name)
        except RegistryUnreachable:
            return
        if last is not None and last.created == champion.created and last.revision != champion.revision:
            self._resume(name, last)

    def _resume(self, name: str, champion: Champion) -> None:
        rollout = self._rollout(name, champion)
        try:
            rollout.run()
        except (NotServable, RegistryUnreachable, TorchServeError, OSError) as error:
            logger.warning("%s version %s, which served last, cannot serve now: %s", name, champion.revision, error)
            self._take_down(name, rollout)
        else:
            logger.info("%s version %s, which served last, serves again.", name, champion.revision)
            self._replace(name, champion)

    def _rollout(self, name: str, champion: Champion) -> Rollout:
        live = self._live.get(name)
        return Rollout(
            name, champion, live=live, registry=self._registry, torchserve=self._torchserve, store=self._store
        )

    def _replace(self, name: str, champion: Champion) -> None:
        replaced = self._live.get(name)
        self._live[name] = champion
        self._store.note_served(name, champion)
        if replaced is not None:
            self._draining.add(name, replaced)

    def _take_down(self, name: str, rollout: Rollout) -> None:
        """End a version that did not come into service; one that was draining may still have answers to give."""
        if rollout.is_registered:
            self._draining.add(name, rollout.champion)

    def _give_up(self, name: str, rollout: Rollout, error: Exception) -> None:
        """Say what became of a version that did not come into service, and when it is tried again."""
        champion = rollout.champion
        if isinstance(error, RegistryUnreachable):
            logger.warning("%s version %s cannot be fetched now: %s", name, champion.revision, error)
            self._pauses.unreachable(name, champion)
            return
        if isinstance(error, NotServable):
            self._pauses.refused(name, champion)
        elif not isinstance(error, Superseded):
            self._pauses.failed(name, champion)
        status = "refused" if isinstance(error, NotServable) else "failed"
        is_known = isinstance(error, (NotServable, Superseded, TorchServeError))
        reason = str(error) if is_known else repr(error)
        goes_on = f" Version {self._live[name].revision} goes on." if name in self._live else ""
        logger.error(
            "%s version %s is %s: %s%s",
            name,
            champion.revision,
            status,
            reason,
            goes_on,
            exc_info=None if is_known else error,
        )
        self._mark(name, champion, status, reason, rollout.tags)

    def _follow_tags(self, name: str, champion: Champion) -> None:
        """Take over tags that change nothing, and say again that a version serves if somebody has asked again."""
        if not self._serves(name, champion):
            return
        if champion.tags.get(STATUS) in (None, "pending") and not self._failures:
            alone = archive.alone(self._store.unpacked(name, champion.revision))
            self._mark(name, champion, "ready", f"answers on this replica{alone}")
        self._live[name] = champion

    def _serves(self, name: str, champion: Champion) -> bool:
        return name in self._live and self._live[name].identity == champion.identity

    def _mark(
        self, name: str, champion: Champion, status: str, reason: str, tags: Mapping[str, str] | None = None
    ) -> None:
        self._marks.put(name, champion, status, reason, tags, now=not self._failures)

    def _report(self, wanted: Mapping[str, Champion]) -> None:
        missing = {name: it for name, it in wanted.items() if not self._serves(name, it)}
        outcomes = {name: self._pauses.outcome(name, it) for name, it in missing.items()}
        by_outcome = {
            outcome: sorted(name for name in outcomes if outcomes[name] == outcome)
            for outcome in ("pending", "failed", "refused")
        }
        self._status.tell(
            deployments={name: champion.revision for name, champion in self._live.items()},
            **by_outcome,
        )
