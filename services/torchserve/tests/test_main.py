"""How a replica ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_server import MemoryServer
from signet_torchserve.__main__ import drain
from signet_torchserve.archive.store import Store
from signet_torchserve.control.controller_status import Status
from signet_torchserve.control.health import Health
from signet_torchserve.server.model_server import ModelServerError, ServedVersion
from signet_torchserve.version_options import Options


class BusyServer(MemoryServer):
    """A server whose one model has as many requests waiting as a test says."""

    pending = 1

    def versions(self, name: str) -> dict[str, ServedVersion]:
        super().versions(name)
        return {"1": ServedVersion("1", 1, 1, self.pending, ())}


@pytest.fixture
def server(tmp_path: Path) -> BusyServer:
    server = BusyServer()
    server.ensure("iris", "1", tmp_path, Options())
    return server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "home")
    yield store
    store.close()


def test_it_ends_when_it_has_answered(server: BusyServer, store: Store) -> None:
    """`/ready` says no from the first moment, and the replica stays until no request is left."""
    status = Status(deployments={"iris": "1"}, has_caught_up=True)
    health = Health(status, server, store)
    assert health.ready()[0]
    drained = threading.Thread(target=drain, args=(server, status, 0.2, 60))
    drained.start()
    time.sleep(0.5)
    is_ready, document = health.ready()
    assert (is_ready, document["message"]) == (
        False,
        "This replica ends: it answers the requests that it has, and takes no new ones.",
    )
    assert drained.is_alive()
    server.pending = 0
    drained.join(5)
    assert not drained.is_alive()


def test_it_is_seen_idle_twice(server: BusyServer) -> None:
    """A request on its way from the queue to a worker is in neither: one look is not enough."""
    server.pending = 0
    drain(server, Status(), 0, 60)
    assert server.calls["versions"] == 2


def test_it_waits_no_longer_than_a_request_may_take(server: BusyServer) -> None:
    """A request that never ends does not keep the replica from ending."""
    began = time.monotonic()
    drain(server, Status(), 0, 0.5)
    assert 0.5 <= time.monotonic() - began < 5


def test_a_server_that_is_gone_has_nothing_to_answer(server: BusyServer) -> None:
    """If TorchServe has ended, the drain ends at once."""

    def gone(*_: str) -> None:
        raise ModelServerError("TorchServe does not answer.")

    server.trouble = gone
    began = time.monotonic()
    drain(server, Status(), 0, 60)
    assert time.monotonic() - began < 5
