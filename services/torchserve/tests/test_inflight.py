from __future__ import annotations

import os
import subprocess
import sys

import pytest
from signet_torchserve.inflight import InFlight, is_busy


def test_a_worker_is_busy_while_it_has_a_batch() -> None:
    """From when a batch begins until it is answered or has failed."""
    worker = InFlight()
    assert not is_busy(os.getpid())
    with worker:
        assert is_busy(os.getpid())
    with pytest.raises(ValueError, match="failed"), worker:
        raise ValueError("failed")
    assert not is_busy(os.getpid())


def test_another_process_sees_it() -> None:
    """What a worker has is seen from outside; a process that has no byte is not busy, nor is one that is gone."""
    code = "from signet_torchserve.inflight import InFlight\nwith InFlight(): print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        assert is_busy(worker.pid)
        worker.communicate(b"\n")
    assert not is_busy(worker.pid)
    assert not is_busy(os.getppid())
