"""What became of the versions, for the registry: told at once, or when it answers again."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from signet_torchserve.champion import Champion
from signet_torchserve.registry import Registry, RegistryUnreachable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Mark:
    champion: Champion
    status: str
    reason: str
    tags: Mapping[str, str]


class Marks:
    """The last one of each deployment, until the registry has taken it.

    Args:
        registry: where they are put.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._untold: dict[str, _Mark] = {}

    def put(  # noqa: PLR0913 -- all that is put on a version
        self,
        name: str,
        champion: Champion,
        status: str,
        reason: str,
        tags: Mapping[str, str] | None = None,
        *,
        now: bool,
    ) -> None:
        """Put on a version what became of it; `now`, or else when `tell` is called."""
        self._untold[name] = _Mark(champion, status, reason, tags or {})
        if now:
            self._tell(name)

    def tell(self, wanted: Mapping[str, Champion]) -> None:
        """Tell what is untold. A version that is wanted no more may be gone, and is left alone."""
        for name, mark in list(self._untold.items()):
            champion = wanted.get(name)
            if champion and (champion.created, champion.version) == (mark.champion.created, mark.champion.version):
                self._tell(name)
            else:
                del self._untold[name]

    def _tell(self, name: str) -> None:
        mark = self._untold[name]
        try:
            self._registry.mark(name, mark.champion.version, mark.status, mark.reason, mark.tags)
        except RegistryUnreachable as error:
            logger.warning(
                "%s version %s cannot be marked as %s now: %s", name, mark.champion.version, mark.status, error
            )
        else:
            del self._untold[name]
