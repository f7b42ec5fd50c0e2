"""What became of the versions: for the registry, the log, the next attempt and the next start."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from signet_torchserve.archive.store import Store
from signet_torchserve.control.desired import Desired
from signet_torchserve.control.failed_attempts import FailedAttempts
from signet_torchserve.control.observed import Observed
from signet_torchserve.control.rollout import Rollout, Superseded
from signet_torchserve.control.status_reporter import StatusReporter
from signet_torchserve.errors import DigestDiffers, FilesIncomplete, NoRoom, NotServable
from signet_torchserve.registry.errors import RegistryRefused, RegistryUnreachable
from signet_torchserve.revision import Revision
from signet_torchserve.server.model_server import ModelServerError

logger = logging.getLogger(__name__)

_KNOWN = (NotServable, FilesIncomplete, Superseded, ModelServerError, RegistryRefused, OSError)


class Outcomes:
    """What became of the versions of one replica.

    Attributes:
        failed_attempts: what was tried, and when it is tried again.
        serving: what answered at the last look, by name of the deployment.

    Args:
        reporter: tells the registry.
        store: remembers what serves.
    """

    def __init__(self, reporter: StatusReporter, store: Store) -> None:
        self._reporter = reporter
        self._store = store
        self.failed_attempts = FailedAttempts()
        self.serving: dict[str, Revision] = {}

    def settle(self, rollout: Rollout, desired: Mapping[str, Revision], observed: Observed) -> None:
        """Note what a finished rollout came to: by what is served now, not by whether its last call failed."""
        name, revision, error = rollout.name, rollout.revision, rollout.error
        is_desired = name in desired and desired[name].identity == revision.identity
        if observed.serves(name, revision):
            account = rollout.account()
            logger.info("%s version %s answers after %s.", name, revision.id, account)
            if is_desired:
                self._reporter.put(name, revision, "ready", f"answers on this replica after {account}", rollout.tags)
        elif isinstance(error, Superseded):
            is_same_version = name in desired and desired[name].version == revision.version
            if not is_same_version:  # else its tags have changed, and its next rollout tells what becomes of it
                logger.info("%s version %s: %s", name, revision.id, error)
                self._reporter.put_final(name, revision, "failed", str(error))
        else:
            error = error or ModelServerError("Another version was made the default meanwhile.")
            self.give_up(name, revision, error, rollout.tags, is_desired=is_desired)

    def state(self, name: str, revision: Revision, observed: Observed) -> str:
        """`ready` if it answers, else what became of it; see `FailedAttempts.outcome`."""
        return "ready" if observed.serves(name, revision) else self.failed_attempts.outcome(name, revision)

    def follow(self, desired: Desired, observed: Observed) -> None:
        """Keep what serves for the next start, and say of what serves no more that it is retired."""
        serving = observed.answering()
        for name, revision in self.serving.items():
            now = serving.get(name)
            if now is not None and now.version != revision.version and now.created == revision.created:
                self._reporter.put_final(name, revision, "retired", f"version {now.version} has taken its place")
            elif now is None and desired.is_known and name not in desired.revisions:
                logger.info("%s carries the alias no more and is withdrawn.", name)
                self._reporter.put_final(name, revision, "retired", "the alias was taken away")
        self.serving = serving
        last = {
            name: it
            for name, it in self._store.last_good().items()
            if not desired.is_known or name in desired.revisions
        }
        self._store.note_last_good({**last, **serving})

    def give_up(
        self, name: str, revision: Revision, error: Exception, tags: Mapping[str, str], *, is_desired: bool
    ) -> None:
        """Say what became of a version that did not come into service, and when it is tried again."""
        now = time.monotonic()
        if isinstance(error, RegistryUnreachable):
            logger.warning("%s version %s cannot be fetched now: %s", name, revision.id, error)
            self.failed_attempts.unreachable(name, revision, now)
            if is_desired:
                self._reporter.put(name, revision, "pending", f"its files cannot be fetched now: {error}")
            return
        status = "refused" if isinstance(error, NotServable) else "failed"
        is_known = isinstance(error, _KNOWN)
        reason = str(error) if is_known else repr(error)
        goes_on = f" Version {self.serving[name].id} goes on." if name in self.serving else ""
        what = f"{name} version {revision.id} is {status}"
        logger.error("%s: %s%s", what, reason, goes_on, exc_info=None if is_known else error)
        if isinstance(error, NoRoom):
            self.failed_attempts.no_room(name, revision, error.needed_mib)
        elif status == "refused" and not isinstance(error, DigestDiffers):
            self.failed_attempts.refused(name, revision)
        else:
            self.failed_attempts.failed(name, revision, now, status)
        if is_desired:
            self._reporter.put(name, revision, status, reason, tags)
