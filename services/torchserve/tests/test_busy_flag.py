from __future__ import annotations

import os
import subprocess
import sys

import pytest
from signet_torchserve import busy_flag, os_compat
from signet_torchserve.busy_flag import BusyFlag, is_busy


@pytest.fixture(params=[True, False], ids=["Linux", "elsewhere"])
def is_linux(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the byte has no file, as on Linux, or one, as elsewhere."""
    monkeypatch.setattr(os_compat, "IS_LINUX", request.param)
    return bool(request.param)


@pytest.mark.usefixtures("is_linux")
def test_a_worker_is_busy_while_it_has_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is busy from when a batch begins until the batch is answered or has failed."""
    monkeypatch.setattr(busy_flag, "_NAME", "signet-alone")  # handlers of other tests have flags in this process, too
    worker = BusyFlag()
    assert not is_busy(os.getpid())
    with worker:
        assert is_busy(os.getpid())
    with pytest.raises(ValueError, match="failed"), worker:
        raise ValueError("failed")
    assert not is_busy(os.getpid())


def test_another_process_sees_it(*, is_linux: bool) -> None:
    """What a worker has is seen from outside; a process that has no byte is not busy, nor is one that is gone."""
    code = (
        f"from signet_torchserve import os_compat\nos_compat.IS_LINUX = {is_linux}\n"
        "from signet_torchserve.busy_flag import BusyFlag\nwith BusyFlag(): print(flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        assert is_busy(worker.pid)
        worker.communicate(b"\n")
    assert not is_busy(worker.pid)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert not is_busy(other.pid)
        other.communicate(b"\n")
