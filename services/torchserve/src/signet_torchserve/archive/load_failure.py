"""Why a worker could not load a version: TorchServe starts it again and again, and passes nothing on."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from signet_torchserve.archive.file_names import LOAD_FAILURE


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """What ended a worker while it loaded a version, and whether it would end each other worker, too."""

    reason: str
    is_final: bool

    @classmethod
    def of(cls, unpacked: Path) -> Self | None:
        """What a worker has written into a version's folder; None if no worker failed."""
        with contextlib.suppress(FileNotFoundError, ValueError):  # ValueError: it is still being written
            return cls(**json.loads((unpacked / LOAD_FAILURE).read_text("utf-8")))
        return None

    def write(self, unpacked: Path) -> None:
        """Write the failure into the version's folder, where the controller reads it."""
        (unpacked / LOAD_FAILURE).write_text(json.dumps(asdict(self)), "utf-8")

    @staticmethod
    def clear(unpacked: Path) -> None:
        """Remove an earlier worker's failure, as this worker has loaded the version."""
        (unpacked / LOAD_FAILURE).unlink(missing_ok=True)
