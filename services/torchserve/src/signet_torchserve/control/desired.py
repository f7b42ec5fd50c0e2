"""What ought to be served: what the registry says, or while it cannot say, what it last said."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from signet_torchserve.archive.store import Store
from signet_torchserve.control.controller_status import Status
from signet_torchserve.control.retry_loop import keep_going
from signet_torchserve.registry.client import Registry
from signet_torchserve.registry.errors import RegistryDenied, RegistryRefused, RegistryUnreachable
from signet_torchserve.revision import Revision

logger = logging.getLogger(__name__)

WAIT_S = 1  # for a change of the registry, before it answers that there is none
PAUSE_S = 0.5  # between two questions, at least: not every server waits
WHOLE_S = 30.0  # between two whole looks, at least: a database may be changed behind its server
IDLE_SHARE = 0.01  # while nothing changes, whole looks at the registry take this part of the time at most
MAX_IDLE_PAUSE_S = 600.0  # between two whole looks, however long one takes
MAX_AWAY_PAUSE_S = 5.0  # between two looks while the registry does not answer
# The same while it denies the account: that lasts until somebody acts, and servers lock an account tried too often.
MAX_DENIED_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class Desired:
    """What ought to be served, as of one look."""

    revisions: Mapping[str, Revision] = field(default_factory=dict)
    """The version with the alias, by name of the deployment."""
    is_known: bool = True
    """Whether the registry has said so now; else it is what it last said."""
    models: AbstractSet[str] = frozenset()
    """All models that the registry has."""
    unlisted_since: Mapping[str, float] = field(default_factory=dict)
    """When the registry was first seen without a deployment that answers, by its name; by `time.monotonic()`."""


class Follower:
    """Follows one registry, look by look.

    Attributes:
        failures: looks in a row at which the registry did not answer.
        look_took_s: how long the shorter of the last two looks took: a server that has just started is slow at first.

    Args:
        registry: is asked.
        store: remembers what was desired last.
        status: is told how the registry is.
    """

    def __init__(self, registry: Registry, store: Store, status: Status) -> None:
        self._registry = registry
        self._store = store
        self._status = status
        self._unlisted_since: dict[str, float] = {}
        self.failures = 0
        self._is_denied = False
        self.look_took_s = self._last_took_s = 0.0
        self._listing: dict[str, Revision] | None = None
        self._has_changed = False
        self._asked_at = self._read_anew_at = 0.0

    def listen(self, on_news: Callable[[], object], stop: threading.Event) -> None:
        """Call `on_news` after each change of the registry, until `stop` is set; the next look then reads it anew."""

        def step() -> float:
            began = time.monotonic()
            if self.has_news(WAIT_S):
                on_news()
            return max(0.0, PAUSE_S - (time.monotonic() - began))

        keep_going("Listening to the registry", step, self._status, stop)

    def has_news(self, wait_s: int = 0) -> bool:
        """Whether the registry has changed since the last look, or does within `wait_s`; then the next look reads it.

        True, too, if it does not answer. False if it gives no ETags, or did not answer at the last look.
        """
        mark = self._registry.changes.mark
        if self.failures or mark is None:
            return False
        self._asked_at = time.monotonic()
        # If the mark has changed, a look has begun since: that look reads the change itself.
        if self._registry.changes.are_there_since(mark, wait_s) and self._registry.changes.mark == mark:
            self._has_changed = True
        return self._has_changed

    def look(self, serving: Mapping[str, Revision], *, may_reuse: bool = False) -> Desired:
        """What is desired now. The store keeps it, for looks at which the registry does not answer, and for a restart.

        A deployment whose version cannot be read, or was deleted, goes on with what serves, perhaps an older version.

        Args:
            serving: what answers, and goes on if the registry is in trouble with that model alone.
            may_reuse: whether the last listing will do if the registry was asked a moment ago.
        """
        began = time.monotonic()
        try:
            if self._listing is None or self._is_outdated(may_reuse=may_reuse):
                self._listing = self._listed_anew()
            revisions = self._listing
            kept = self._kept_unlisted(revisions, serving)
        except RegistryUnreachable as error:
            if not self.failures:
                logger.warning("The registry does not answer, what is served goes on being served: %s", error)
            self.failures += 1
            self._is_denied = isinstance(error.__cause__, RegistryDenied)
            self._status.registry = str(error)
            self._unlisted_since, self._listing = {}, None
            return Desired({**serving, **self._store.last_desired()}, is_known=False)
        if self.failures:
            logger.info("The registry answers again.")
        self.failures = 0
        took_s = time.monotonic() - began
        self.look_took_s, self._last_took_s = min(took_s, self._last_took_s), took_s
        self._status.registry = "reachable"
        last_desired = self._store.last_desired()
        # Stored is what carried the alias, not what goes on in its place: the next look compares both (`_was_deleted`).
        carried_last = {name: last_desired.get(name, it) for name, it in kept.items()}
        self._store.note_last_desired({**revisions, **carried_last})
        desired = {**revisions, **kept}
        self._unlisted_since = {name: self._unlisted_since.get(name, began) for name in serving.keys() - desired.keys()}
        return Desired(desired, models=self._registry.models, unlisted_since=self._unlisted_since)

    def until_next_look_s(self, interval_s: float) -> float:
        """Seconds until the next look. While looks fail they double, up to a limit, with a random part.

        So the replicas do not all ask at once.
        """
        if not self.failures:
            tells = self._registry.changes.have_been_told
            return interval_s if tells else max(interval_s, min(self.look_took_s / IDLE_SHARE, MAX_IDLE_PAUSE_S))
        limit = MAX_DENIED_PAUSE_S if self._is_denied else MAX_AWAY_PAUSE_S
        longest: float = min(limit, interval_s * 2 ** min(self.failures, 10))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 -- spreads replicas, keeps no secret

    def _is_outdated(self, *, may_reuse: bool) -> bool:
        """Whether the last listing is to be read again: the registry has changed since, or it is a while ago.

        With `may_reuse` the registry is not asked if it was asked a moment ago: `listen` asks all the time.
        """
        now = time.monotonic()
        if self._has_changed:
            return True
        if may_reuse and now - self._asked_at < WAIT_S + PAUSE_S:
            return False
        return now >= self._read_anew_at or self._registry.changes.are_there()

    def _listed_anew(self) -> dict[str, Revision]:
        """What the registry lists now; of the last listing it keeps the models that have not changed, for a while."""
        began = time.monotonic()
        if self.failures:
            # Only for its error, if the registry is still away: `begin` would wait as long, and say nothing.
            self._registry.desired()
        self._has_changed = False
        changed = self._registry.changes.begin()  # before the listing, so that no change falls between the two
        if self._listing is None or began >= self._read_anew_at:
            changed = None
        self._listing = None  # whatever goes wrong now, the next look reads all
        listing = self._registry.desired(changed)
        self._asked_at = time.monotonic()
        if changed is None:
            pause_s = min((self._asked_at - began) / IDLE_SHARE, MAX_IDLE_PAUSE_S)
            self._read_anew_at = self._asked_at + max(WHOLE_S, pause_s)
        return listing

    def _kept_unlisted(self, revisions: Mapping[str, Revision], serving: Mapping[str, Revision]) -> dict[str, Revision]:
        """Deployments that stay desired although the registry's listing has no version of them that can be read."""
        last_desired, stranded = self._store.last_desired(), dict(self._registry.troubles)
        kept = {}
        for name in (last_desired.keys() | serving.keys()) - revisions.keys():
            goes_on, trouble = self._goes_on(name, serving.get(name), last_desired.get(name))
            if goes_on is not None:
                kept[name] = goes_on
            if trouble:
                stranded[name] = trouble
        for name in stranded.keys() - self._status.stranded.keys():
            logger.error("%s goes on with what it serves. %s", name, stranded[name])
        self._status.stranded = stranded
        return kept

    def _goes_on(self, name: str, served: Revision | None, last: Revision | None) -> tuple[Revision | None, str]:
        """What stays desired of a deployment that the registry does not list (or None), and what is wrong (or "").

        None if the alias was taken away. `served` is what answers, `last` what was desired at the last look.
        """
        answers = served or last
        if trouble := self._registry.troubles.get(name, ""):
            return answers, trouble
        try:
            if self._registry.champion_version(name) is not None:
                return last or served, ""  # it moved from one page of the list to another meanwhile
            if served and last and self._was_deleted(name, last, served):
                return answers, f"Version {last.version}, which carried the alias, was deleted."
        except RegistryRefused as error:
            return answers, f"Whether it carries the alias cannot be told: {error}"
        return None, ""

    def _was_deleted(self, name: str, last: Revision, served: Revision) -> bool:
        """Whether the version that carried the alias was deleted before it served: then the older one goes on.

        Who deletes the version that serves withdraws the deployment.
        """
        is_other = served.version != last.version
        return is_other and self._registry.has(name, served.version) and not self._registry.has(name, last.version)
