"""Whether a worker is at work on a batch: a byte in a file of its own.

TorchServe counts the requests that wait for a version, not those that its workers are at work on. When it ends a
worker, it forgets these: their clients never hear. So the agent looks here before it lets a version's workers end.
"""

from __future__ import annotations

import mmap
from pathlib import Path


class InFlight:
    """A worker's side.

    Args:
        folder: TorchServe's folder for temporary files.
        pid: the worker's process id.
    """

    def __init__(self, folder: Path, pid: int) -> None:
        path = _path(folder, pid)
        path.write_bytes(b"\0")
        with path.open("r+b") as file:
            self._byte = mmap.mmap(file.fileno(), 1)

    def __enter__(self) -> None:
        """A batch begins."""
        self._byte[0] = 1

    def __exit__(self, *_: object) -> None:
        """It is answered, or has failed."""
        self._byte[0] = 0


def is_busy(folder: Path, pid: int) -> bool:
    """Whether the worker with this process id is at work; one that has left no byte is not."""
    try:
        return _path(folder, pid).read_bytes() == b"\1"
    except FileNotFoundError:
        return False


def _path(folder: Path, pid: int) -> Path:
    return folder / f"inflight-{pid}"
