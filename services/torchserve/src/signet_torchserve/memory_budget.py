"""Whether a replica has memory for another version: decided before workers start, so that none is killed for it.

The size of its archive tells what a version needs: its weights, which all its workers share, and some memory for each
worker. That is an estimate. When the first worker has loaded the version, its memory is measured before others start.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path

from signet_torchserve import memory
from signet_torchserve.errors import NoRoom, NotServable
from signet_torchserve.revision import Revision
from signet_torchserve.switchable_pieces import Piece
from signet_torchserve.version_options import Options

# `python -m bench --only many` has what these come from.
FORKED_MIB = 16
"""What a forked worker takes besides weights."""
STARTED_ANEW_MIB = 160
"""What a worker takes that is not forked."""
REPLICA_MIB = 640
"""What a replica takes before it has models."""
SPARE_MIB = 128
"""What stays free: requests take memory while they are answered, and Java takes more as it goes."""


class MemoryBudget:
    """The memory of one replica.

    Args:
        pieces: those that take part.
        measured_mib: what is free on the machine, or below the container's limit.
    """

    def __init__(
        self, pieces: Container[Piece] = frozenset(Piece), measured_mib: Callable[[], float] = memory.free_mib
    ) -> None:
        self._worker_mib = FORKED_MIB if Piece.FORK in pieces else STARTED_ANEW_MIB
        self._measured_mib = measured_mib
        self._reserved_mib = 0.0
        self._lock = threading.Lock()

    @property
    def free_mib(self) -> float:
        """What another version can have: rollouts that are under way will take what was reserved for them."""
        return max(0.0, self._measured_mib() - self._reserved_mib - SPARE_MIB)

    def needed_mib(self, archive: Path, workers: int = 1) -> float:
        """What a version will need, by its archive, which is hardly larger than its weights."""
        return archive.stat().st_size / 2**20 + workers * self._worker_mib

    @contextmanager
    def reserved(self, needed_mib: float) -> Iterator[None]:
        """Reserve so much for a version while its workers start.

        Raises:
            NoRoom: there is less.
        """
        with self._lock:
            free_mib = self.free_mib
            if needed_mib > free_mib:
                raise NoRoom(needed_mib, free_mib)
            self._reserved_mib += needed_mib
        try:
            yield
        finally:
            with self._lock:
                self._reserved_mib -= needed_mib

    def reserve_at_start(self, archive: Path, revision: Revision) -> bool:
        """Reserve memory for a version that starts with the replica; False if there is too little."""
        try:
            workers = Options.from_tags(revision.tags).workers
        except NotServable:  # an older Signet admitted its tags: the controller tells what is wrong with them
            return True
        needed_mib = self.needed_mib(archive, workers)
        if needed_mib > self.free_mib - REPLICA_MIB:
            return False
        self._reserved_mib += needed_mib
        return True
