"""What only Linux has, and what does instead of it elsewhere: tried here by switching the other off."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import psutil
import pytest
import requests
from signet_torchserve import os_compat
from signet_torchserve.archive.store import Store

from testing.small_server import ECHO, small_server


def test_a_thread_that_stands_back() -> None:
    """Only this thread gets the lower priority, and the processes that it starts."""
    told: list[int] = []
    ours = os.getpriority(os.PRIO_PROCESS, 0)

    def work() -> None:
        os_compat.lower_priority()
        os_compat.lower_priority()
        told.append(int(subprocess.run(["nice"], stdout=subprocess.PIPE, check=True).stdout))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == [max(10, ours)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == ours


def test_torchserve_without_unix_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its Netty has none, workers and management have ports of the loopback, and all else is the same."""
    monkeypatch.setattr(os_compat, "IS_LINUX", False)
    with small_server(tmp_path, {"echo": ECHO}, "vmargs=-Dio.netty.transport.noNative=true") as server:
        assert isinstance(server.store.management, int)
        assert [path.name for path in server.store.sockets.iterdir()] == ["fork.sock"]
        server.deploy("echo")
        assert requests.post(server.url("echo"), data=b"text", timeout=10).text == "text"
        found = psutil.Process(server.pid).net_connections("tcp")
        addresses = {connection.laddr for connection in found if connection.status == psutil.CONN_LISTEN}
        assert {address.ip.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}
        assert server.store.management in {address.port for address in addresses}


def test_each_replica_has_its_own_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Unix sockets no two replicas listen at one port."""
    monkeypatch.setattr(os_compat, "IS_LINUX", False)
    stores = [Store(tmp_path), Store(tmp_path)]
    assert len({store.management for store in stores}) == 2
    for store in stores:
        store.close()
