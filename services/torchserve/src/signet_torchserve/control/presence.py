"""Which replicas follow the registry: each tells it every few seconds, by a *beat*, that it is there."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Collection

from signet_torchserve.registry.client import Registry
from signet_torchserve.registry.errors import RegistryError

logger = logging.getLogger(__name__)

BEAT_S = 10
MEET_S = 1  # between two looks, however many unknown replicas are met
GONE_S = 35  # three beats have not come


class Presence:
    """All replicas that are there, as one of them sees it.

    No clock is compared with another machine's: a replica is gone when what it says has not changed for `GONE_S`.

    Attributes:
        is_known: whether the registry has told which replicas there are.

    Args:
        registry: where the replicas meet.
        replica: this one's name.
    """

    def __init__(self, registry: Registry, replica: str) -> None:
        self._registry = registry
        self.replica = replica
        self._heard: dict[str, tuple[str, float]] = {}  # by replica: its last beat, and when that was first seen here
        self._beat_at = -math.inf
        self.is_known = False

    def look(self) -> None:
        """Say that this replica is there, and see which others are, if it is time."""
        now = time.monotonic()
        if now - self._beat_at < BEAT_S:
            return
        self._beat_at = now
        try:
            beats = self._registry.beat(self.replica)
        except RegistryError as error:
            if self.is_known:
                logger.warning("Which replicas there are cannot be told: %s", error)
            self.is_known = False
            return
        self.is_known = True
        former = self._heard
        self._heard = {
            name: former[name] if name in former and former[name][0] == beat else (beat, now)
            for name, beat in beats.items()
        }
        for name in [name for name, (_, heard_at) in self._heard.items() if now - heard_at > 10 * GONE_S]:
            self._forget(name)

    def meet(self, names: Collection[str]) -> None:
        """See at once which replicas there are if one of `names` has not been heard of."""
        if self.is_known and not self._heard.keys() >= set(names) and time.monotonic() - self._beat_at >= MEET_S:
            self._beat_at = -math.inf
            self.look()

    def among(self, names: set[str]) -> set[str]:
        """The replicas that are there; where that is not known, this one and `names`, which have said something."""
        if not self.is_known:
            return {self.replica, *names}
        now = time.monotonic()
        return {self.replica, *(name for name, (_, heard_at) in self._heard.items() if now - heard_at <= GONE_S)}

    def leave(self) -> None:
        """Say that this replica is not there any more."""
        self._forget(self.replica)

    def _forget(self, name: str) -> None:
        try:
            self._registry.leave(name)
        except RegistryError as error:
            logger.warning("The registry cannot be told that the replica %s is gone: %s", name, error)
