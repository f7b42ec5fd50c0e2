"""Whether a worker is at work on a batch: a byte of its memory that the controller can read.

TorchServe counts the requests that wait for a version, not those that its workers are at work on. When TorchServe ends
a worker, the clients of that worker's requests never hear. So the controller looks here before it ends workers.

The byte lies in memory. A file on a disk would slow a worker down that serves many connections.
"""

from __future__ import annotations

from signet_torchserve import os_compat

_NAME = "signet-busy"


class BusyFlag:
    """The byte of this process, which is a worker."""

    def __init__(self) -> None:
        self._byte = os_compat.shared_byte(_NAME)

    def __enter__(self) -> None:
        """A batch begins."""
        self._byte[0] = 1

    def __exit__(self, *_: object) -> None:
        """The batch is answered, or has failed."""
        self._byte[0] = 0


def is_busy(pid: int) -> bool:
    """Whether the worker with this process id is at work; one that has no byte, or is gone, is not."""
    return os_compat.read_byte(pid, _NAME) == b"\1"
