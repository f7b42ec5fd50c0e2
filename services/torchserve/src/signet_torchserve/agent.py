"""Makes TorchServe serve what the registry wants: it compares the two and does what is missing, again and again.

One step at a time, and before each the registry is looked at anew: what serves goes before what is new, and what lies
in the store before what must be fetched, so that thirty new deployments do not keep a rollback waiting.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from signet_torchserve import inflight
from signet_torchserve.champion import STATUS, Champion
from signet_torchserve.errors import NotServable
from signet_torchserve.management import TorchServe, TorchServeError
from signet_torchserve.registry import Registry, RegistryUnreachable
from signet_torchserve.rollout import Rollout, Superseded
from signet_torchserve.status import Status
from signet_torchserve.store import Store

logger = logging.getLogger(__name__)

DRAIN_TIMEOUT_S = 60  # config.properties' default_response_timeout: no request takes longer
DRAIN_LOOK_S = 0.25
RETRY_FAILED_S = 30
MAX_BACKOFF_S = 5.0


@dataclass(slots=True)
class _Draining:
    """A revision that answers what it has accepted, and then ends."""

    deadline: float
    was_idle: bool = False


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
        self._live: dict[str, Champion] = {}
        self._started = started or {}
        self._untold: dict[tuple[str, str], tuple[str, str, dict[str, str]]] = {}
        self._draining: dict[tuple[str, str], _Draining] = {}
        self._not_before: dict[tuple[str, tuple[str, ...]], float] = {}
        self._failures = 0

    def run(self, stop: threading.Event) -> None:
        """Reconcile until `stop` is set."""
        self.resume()
        while not stop.is_set():
            stop.wait(self.reconcile())

    def resume(self) -> None:
        """Take over what TorchServe was started with, before the registry is asked: it may not answer for long."""
        for name, champion in self._started.items():
            self._resume(name, champion)
        self._report(dict(self._started))

    def reconcile(self) -> float:
        """Do the one thing that is most urgent of what differs between what is wanted and what is served.

        Returns:
            Seconds until the next look: none while there is more to do; longer and longer, and another time for each
            replica, while the registry does not answer.
        """
        wanted = self._wanted()
        self._report(wanted)
        try:
            for name in sorted(self._live.keys() - wanted.keys()):
                self._withdraw(name)
            for name, champion in wanted.items():
                self._follow_tags(name, champion)
            urgent = self._most_urgent(wanted)
            if urgent is not None:
                self._deploy(urgent, wanted[urgent])
            self._look_at_draining()
        except TorchServeError as error:
            logger.warning("%s", error)
        self._report(wanted)
        if self._most_urgent(wanted) is not None:
            return 0.0
        if self._draining:
            return min(DRAIN_LOOK_S, self._poll_interval_s)
        if not self._failures:
            return self._poll_interval_s
        backoff: float = min(MAX_BACKOFF_S, self._poll_interval_s * 2 ** min(self._failures, 10))
        return backoff * random.uniform(0.5, 1.0)  # noqa: S311 -- spreads replicas, keeps no secret

    def _wanted(self) -> dict[str, Champion]:
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
        self._status.registry = "reachable"
        # A version that is wanted no more may be gone, and would be told again and again.
        wanted = {(name, champion.version) for name, champion in champions.items()}
        self._untold = {key: marks for key, marks in self._untold.items() if key in wanted}
        for (name, version), marks in list(self._untold.items()):
            self._tell(name, version, *marks)
        self._store.remember(champions)
        current = {(name, champion.request) for name, champion in champions.items()}
        self._not_before = {key: until for key, until in self._not_before.items() if key in current}
        return champions

    def _most_urgent(self, wanted: dict[str, Champion]) -> str | None:
        now = time.monotonic()
        missing = [
            (name not in self._live, not self._is_at_hand(name, champion), name)
            for name, champion in wanted.items()
            if not self._serves(name, champion) and now >= self._not_before.get((name, champion.request), 0.0)
        ]
        return min(missing)[-1] if missing else None

    def _is_at_hand(self, name: str, champion: Champion) -> bool:
        return self._store.is_at_hand(self._store.archive(name, champion))

    def _serves(self, name: str, champion: Champion) -> bool:
        return name in self._live and self._live[name].revision == champion.revision

    def _deploy(self, name: str, champion: Champion) -> None:
        """Bring a version into service beside the live one; one model's trouble is not another's."""
        if name not in self._live and not (champion.has_served and self._is_at_hand(name, champion)):
            self._restore(name, champion)
        logger.info("Deploying %s version %s.", name, champion.revision)
        if champion.tags.get(STATUS) != "ready":
            self._mark(name, champion, "pending", "it is being deployed")
        rollout = self._rollout(name, champion)
        try:
            rollout.run(is_asked_for=not self._failures)
        except NotServable as refusal:
            self._give_up(name, champion, "refused", str(refusal), rollout, retry_in_s=math.inf)
        except RegistryUnreachable as error:
            logger.warning("%s version %s cannot be fetched now: %s", name, champion.revision, error)
            self._not_before[name, champion.request] = time.monotonic() + MAX_BACKOFF_S
        except (Superseded, TorchServeError) as error:
            self._give_up(name, champion, "failed", str(error), rollout, retry_in_s=RETRY_FAILED_S)
        except Exception as error:
            logger.exception("Deploying %s version %s.", name, champion.revision)
            self._give_up(name, champion, "failed", repr(error), rollout, retry_in_s=RETRY_FAILED_S)
        else:
            account = rollout.account()
            logger.info("%s version %s answers after %s.", name, champion.revision, account)
            self._replace(name, champion)
            self._mark(name, champion, "ready", f"answers on this replica after {account}", rollout.tags)

    def _restore(self, name: str, champion: Champion) -> None:
        """Let what served last serve until the champion does, which no replica has proven yet."""
        try:
            last = self._store.last_served().get(name) or self._registry.last_served(name)
        except RegistryUnreachable:
            return
        if last is not None and last.revision != champion.revision:
            self._resume(name, last)

    def _resume(self, name: str, champion: Champion) -> None:
        try:
            self._rollout(name, champion).run()
        except (NotServable, RegistryUnreachable, TorchServeError, OSError) as error:
            logger.warning("%s version %s, which served last, cannot serve now: %s", name, champion.revision, error)
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
        self._draining.pop((name, champion.revision), None)
        if replaced is not None:
            self._drain(name, replaced)

    def _give_up(  # noqa: PLR0913 -- all of it is said in one line of the log
        self, name: str, champion: Champion, status: str, reason: str, rollout: Rollout, *, retry_in_s: float
    ) -> None:
        self._not_before[name, champion.request] = time.monotonic() + retry_in_s
        goes_on = f" Version {self._live[name].revision} goes on." if name in self._live else ""
        logger.error("%s version %s is %s: %s%s", name, champion.revision, status, reason, goes_on)
        self._mark(name, champion, status, reason, rollout.tags)

    def _withdraw(self, name: str) -> None:
        logger.info("%s has no champion any more and is withdrawn.", name)
        self._store.note_served(name, None)
        self._drain(name, self._live.pop(name))

    def _drain(self, name: str, champion: Champion) -> None:
        self._draining[name, champion.revision] = _Draining(time.monotonic() + DRAIN_TIMEOUT_S)

    def _look_at_draining(self) -> None:
        """End every revision that has answered what it had accepted.

        It must be idle at two looks: between two looks at one, a request may be on its way from the queue to a worker.
        """
        for (name, revision), draining in list(self._draining.items()):
            served = self._torchserve.version(name, revision)
            is_idle = served is None or not (
                served.pending_requests or any(inflight.is_busy(pid) for pid in served.workers)
            )
            if (is_idle and draining.was_idle) or time.monotonic() > draining.deadline:
                self._torchserve.stop(name, revision)
                logger.info("%s version %s is retired.", name, revision)
                self._store.discard(name, revision)
                self._store.prune(name, keep={self._live[name].revision} if name in self._live else set())
                del self._draining[name, revision]
            draining.was_idle = is_idle

    def _follow_tags(self, name: str, champion: Champion) -> None:
        """Take over tags that change nothing, and say again that a version serves if somebody has asked again."""
        if not self._serves(name, champion):
            return
        if champion.tags.get(STATUS) in (None, "pending") and not self._failures:
            self._mark(name, champion, "ready", "answers on this replica")
        self._live[name] = champion

    def _mark(
        self, name: str, champion: Champion, status: str, reason: str, tags: dict[str, str] | None = None
    ) -> None:
        self._untold[name, champion.version] = (status, reason, tags or {})
        if not self._failures:
            self._tell(name, champion.version, status, reason, tags or {})

    def _tell(self, name: str, version: str, status: str, reason: str, tags: dict[str, str]) -> None:
        """Put on a version what became of it; what the registry does not take now it is told when it answers again."""
        try:
            self._registry.mark(name, version, status, reason, tags)
        except RegistryUnreachable as error:
            logger.warning("%s version %s cannot be marked as %s now: %s", name, version, status, error)
        else:
            self._untold.pop((name, version), None)

    def _report(self, wanted: dict[str, Champion]) -> None:
        missing = {name: it for name, it in wanted.items() if not self._serves(name, it)}
        tried = {name: self._not_before.get((name, it.request)) for name, it in missing.items()}
        self._status.tell(
            deployments={name: champion.revision for name, champion in self._live.items()},
            pending=sorted(name for name, until in tried.items() if until is None),
            failed=sorted(name for name, until in tried.items() if until is not None and until != math.inf),
            refused=sorted(name for name, until in tried.items() if until == math.inf),
        )
