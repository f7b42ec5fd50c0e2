"""Why a worker could not load a version: TorchServe starts it again and again, and passes nothing on."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from signet_torchserve.archive.layout import LAST_WORDS


@dataclass(frozen=True, slots=True)
class LastWords:
    """What ended a worker, and whether that is so for good."""

    reason: str
    is_final: bool

    @classmethod
    def of(cls, unpacked: Path) -> Self | None:
        """Those in a version's folder; None if no worker has left any."""
        with contextlib.suppress(FileNotFoundError, ValueError):  # ValueError: they are only being written
            return cls(**json.loads((unpacked / LAST_WORDS).read_text("utf-8")))
        return None

    def write(self, unpacked: Path) -> None:
        """Leave them in the version's folder."""
        (unpacked / LAST_WORDS).write_text(json.dumps(asdict(self)), "utf-8")

    @staticmethod
    def take_back(unpacked: Path) -> None:
        """Remove what an earlier worker has left, as this one has loaded the version."""
        (unpacked / LAST_WORDS).unlink(missing_ok=True)
