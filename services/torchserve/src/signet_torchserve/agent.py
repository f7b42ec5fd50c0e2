"""Makes TorchServe serve what the registry wants: it compares the two and does what is missing, again and again.

Nothing is remembered that the registry, TorchServe or the store do not know, so a restart of any of them needs
nobody. TorchServe knows a version by its revision (`options.Champion`), so that one whose tags have changed is rolled
out like any other: beside the one that serves until then.
"""

from __future__ import annotations

import logging
import math
import os
import random
import tempfile
import threading
import time
from pathlib import Path

from signet_torchserve import archive
from signet_torchserve.errors import NotServable
from signet_torchserve.management import TorchServe, TorchServeError
from signet_torchserve.options import Champion, Options
from signet_torchserve.registry import Registry, RegistryUnreachable
from signet_torchserve.store import Status, Store

logger = logging.getLogger(__name__)

DRAIN_TIMEOUT_S = 30
RETRY_FAILED_S = 30
MAX_BACKOFF_S = 5.0


class Agent:
    """Follows the registry with one TorchServe.

    Args:
        registry: says which version of each model ought to be served.
        torchserve: serves them.
        store: keeps their archives.
        poll_interval_s: seconds between two looks at the registry.
    """

    def __init__(self, registry: Registry, torchserve: TorchServe, store: Store, poll_interval_s: float) -> None:
        self._registry = registry
        self._torchserve = torchserve
        self._store = store
        self._poll_interval_s = poll_interval_s
        self._status = Status()
        self._not_before: dict[tuple[str, str], float] = {}
        self._failures = 0

    def run(self, stop: threading.Event) -> None:
        """Reconcile until `stop` is set; the registry is asked less and less often while it does not answer."""
        while not stop.is_set():
            self.reconcile()
            backoff = min(MAX_BACKOFF_S, self._poll_interval_s * 2 ** min(self._failures, 10))
            jitter = random.uniform(0.5, 1.0) if self._failures else 1.0  # noqa: S311 -- spreads replicas, keeps no secret
            stop.wait(self._poll_interval_s if not self._failures else backoff * jitter)

    def reconcile(self) -> None:
        """One round: whatever differs between what is wanted and what is served is deployed or retired."""
        wanted = self._wanted()
        try:
            served = {name: self._torchserve.default_version(name) for name in self._torchserve.models()}
            self._report(wanted, served)
            for name, champion in sorted(wanted.items()):
                if served.get(name) == champion.revision:
                    self._retire(name, keep=champion.revision)
                elif self._may_try(name, champion):
                    served[name] = self._tried(name, champion, live=served.get(name))
                    self._report(wanted, served)
            for name in sorted(served.keys() - wanted.keys()):
                self._withdraw(name)
                del served[name]
        except TorchServeError as error:
            logger.warning("%s", error)
            return
        self._report(wanted, served)

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
        self._store.remember(champions)
        current = {(name, champion.revision) for name, champion in champions.items()}
        self._not_before = {key: until for key, until in self._not_before.items() if key in current}
        return champions

    def _may_try(self, name: str, champion: Champion) -> bool:
        return time.monotonic() >= self._not_before.get((name, champion.revision), 0.0)

    def _tried(self, name: str, champion: Champion, *, live: str | None) -> str | None:
        """The revision that answers after a deployment was tried; one model's trouble is not another's."""
        try:
            return self._deploy(name, champion, live=live) or live
        except TorchServeError:
            raise
        except Exception as error:
            logger.exception("Deploying %s version %s.", name, champion.revision)
            self._give_up(name, champion, "failed", repr(error), live, retry_in_s=RETRY_FAILED_S)
            return live

    def _deploy(self, name: str, champion: Champion, *, live: str | None) -> str | None:
        """Bring a version into service beside the live one; its revision if it answers now."""
        revision = champion.revision
        logger.info("Deploying %s version %s.", name, revision)
        begin = time.monotonic()
        try:
            options = Options.from_tags(champion.tags)
            mar = self._archived(name, champion)
        except NotServable as refusal:
            self._give_up(name, champion, "refused", str(refusal), live, retry_in_s=math.inf)
            return None
        except RegistryUnreachable as error:
            logger.warning("%s version %s cannot be fetched now: %s", name, revision, error)
            return None
        try:
            self._serve(name, revision, mar, options)
        except TorchServeError as error:
            self._give_up(name, champion, "failed", str(error), live, retry_in_s=RETRY_FAILED_S)
            if revision != live and any(served.version == revision for served in self._torchserve.versions(name)):
                self._torchserve.unregister(name, revision)
            return None
        duration_s = time.monotonic() - begin
        self._mark(name, champion, "ready", f"answers on this replica after {duration_s:.1f} s")
        logger.info("%s version %s answers after %.1f s.", name, revision, duration_s)
        self._retire(name, keep=revision)
        return revision

    def _archived(self, name: str, champion: Champion) -> Path:
        mar = self._store.archive(name, champion)
        if mar.exists():
            os.utime(mar)
        else:
            self._mark(name, champion, "pending", "its archive is being built")
            with tempfile.TemporaryDirectory(dir=self._store.temporary) as folder:
                archive.build(self._registry.download(name, champion.version, Path(folder)), name, champion, mar)
        return mar

    def _serve(self, name: str, revision: str, mar: Path, options: Options) -> None:
        registered = {served.version: served for served in self._torchserve.versions(name)}
        if revision in registered and not registered[revision].ready_workers:
            self._torchserve.unregister(name, revision)
            del registered[revision]
        if revision not in registered:
            self._torchserve.register(
                mar,
                batch_size=options.batch_size,
                max_batch_delay_ms=options.max_batch_delay_ms,
                workers=options.workers,
            )
        golden = archive.golden(mar)
        if golden is not None:
            answer = self._torchserve.predict(name, revision, golden["request"])
            if answer != golden["response"]:
                raise TorchServeError(f"The golden rows are answered with {answer}: expected {golden['response']}.")
        self._torchserve.set_default(name, revision)

    def _give_up(  # noqa: PLR0913 -- all of it is said in one line of the log
        self, name: str, champion: Champion, status: str, reason: str, live: str | None, *, retry_in_s: float
    ) -> None:
        self._not_before[name, champion.revision] = time.monotonic() + retry_in_s
        goes_on = f" Version {live} goes on." if live else ""
        logger.error("%s version %s is %s: %s%s", name, champion.revision, status, reason, goes_on)
        self._mark(name, champion, status, reason)

    def _retire(self, name: str, *, keep: str) -> None:
        """Unregister every revision but `keep`, each after it has answered what it had accepted."""
        for served in self._torchserve.versions(name):
            if served.version != keep:
                self._drain(name, served.version)
                self._torchserve.unregister(name, served.version)
                logger.info("%s version %s is retired.", name, served.version)
        self._store.prune(name, keep={keep})

    def _drain(self, name: str, version: str) -> None:
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        idle_looks = 0
        while idle_looks < 2 and time.monotonic() < deadline:  # noqa: PLR2004 -- a batch may leave the queue between two looks
            pending = {served.version: served.pending_requests for served in self._torchserve.versions(name)}
            idle_looks = idle_looks + 1 if not pending.get(version) else 0
            time.sleep(0.25)

    def _withdraw(self, name: str) -> None:
        logger.info("%s has no champion any more and is withdrawn.", name)
        default = self._torchserve.default_version(name)
        if default is not None:
            self._retire(name, keep=default)
            self._drain(name, default)
            self._torchserve.unregister(name, default)

    def _mark(self, name: str, champion: Champion, status: str, reason: str) -> None:
        try:
            self._registry.mark(name, champion.version, status, reason)
        except RegistryUnreachable as error:
            logger.warning("%s version %s cannot be marked as %s now: %s", name, champion.version, status, error)

    def _report(self, wanted: dict[str, Champion], served: dict[str, str | None]) -> None:
        self._status.deployments = {name: version for name, version in served.items() if version is not None}
        missing = sorted((name, it.revision) for name, it in wanted.items() if served.get(name) != it.revision)
        self._status.refused = [name for name, it in missing if self._not_before.get((name, it)) == math.inf]
        self._status.pending = [name for name, _ in missing if name not in self._status.refused]
        self._store.report(self._status)
