"""The clever pieces: where Signet does better than what TorchServe and torch ship, and needs their insides for it.

Each has the plain way beside it, and a setting that takes that way; docs/cleverness.md says what each gains. A piece
that was written for another version than the installed one is left out, and the log says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from enum import StrEnum
from importlib import metadata

logger = logging.getLogger(__name__)

PLAIN = "SIGNET_PLAIN"
"""Environment variable that says `true` where all pieces are left out."""


class Piece(StrEnum):
    """A piece, by the environment variable that leaves it out where it says `false`."""

    PATCHES = "SIGNET_PATCHES"
    """The changed classes of TorchServe's frontend; without it TorchServe's jar runs as it is shipped."""
    WORKER_LOOP = "SIGNET_WORKER_LOOP"
    """Our side of a worker's socket; without it TorchServe's own loop reads requests and writes answers."""
    FORK = "SIGNET_FORK"
    """Workers forked from one process that has imported what they need; without it each imports that itself."""
    CODE_GENERATION = "SIGNET_CODE_GENERATION"
    """A model's program as one Python function; without it torch's own module runs."""
    ENFORCEMENT_SERVICE = "SIGNET_ENFORCEMENT_SERVICE"
    """Enforcement in processes of its own; without it each worker loads MLflow and decides by itself."""


# The package and the version that a piece was written for. Each patch knows by itself whether it fits the jar.
_WRITTEN_FOR = {
    Piece.WORKER_LOOP: ("torchserve", "0.12"),
    Piece.CODE_GENERATION: ("torch", "2.13"),
}


def told(pieces: Iterable[Piece]) -> dict[str, str]:
    """The environment of a worker that has these pieces and no others."""
    return {piece.value: str(piece in set(pieces)).lower() for piece in Piece}


def has(piece: Piece, environment: Mapping[str, str]) -> bool:
    """Whether a worker's environment has a piece."""
    return environment.get(piece) != "false"


def fitting(pieces: Iterable[Piece]) -> frozenset[Piece]:
    """The pieces that were written for the installed versions; the log says of each other one that it is off."""
    found = set()
    for piece in pieces:
        package, version = _WRITTEN_FOR.get(piece, ("", ""))
        if package and not f"{metadata.version(package)}.".startswith(f"{version}."):
            logger.warning(
                "%s is off: it was written for %s %s, and %s is installed.",
                piece.value,
                package,
                version,
                metadata.version(package),
            )
        else:
            found.add(piece)
    return frozenset(found)
