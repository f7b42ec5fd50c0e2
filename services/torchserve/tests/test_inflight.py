from __future__ import annotations

import os
from pathlib import Path

import pytest
from signet_torchserve.inflight import InFlight, is_busy


def test_a_worker_is_busy_while_it_has_a_batch(tmp_path: Path) -> None:
    """From when a batch begins until it is answered or has failed; an unknown process is not busy."""
    worker = InFlight(tmp_path, os.getpid())
    assert not is_busy(tmp_path, os.getpid())
    with worker:
        assert is_busy(tmp_path, os.getpid())
    with pytest.raises(ValueError, match="failed"), worker:
        raise ValueError("failed")
    assert not is_busy(tmp_path, os.getpid())
    assert not is_busy(tmp_path, 1)
