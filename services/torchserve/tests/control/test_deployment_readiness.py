"""What a replica says at /ready of a real TorchServe, whatever one of its deployments does."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from signet_torchserve.control import deployment_readiness
from signet_torchserve.control.controller_status import Status
from signet_torchserve.control.health import Health

from testing.polling import until
from testing.small_server import SmallServer, small_server

HANDLER = """
import time

class Echo:
    def initialize(self, context):
        pass

    def handle(self, batch, context):
        if batch[0]["body"] == b"long":
            time.sleep(20)
        if batch[0]["body"] == b'"refused"':
            context.set_response_status(code=400, idx=0)
        return ["1"] * len(batch)
"""
NAMES = ("one", "other")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """A TorchServe that serves both models."""
    with small_server(tmp_path_factory.mktemp("readiness"), dict.fromkeys(NAMES, HANDLER)) as server:
        for name in NAMES:
            server.deploy(name, timeout_s=10)
        yield server


@pytest.fixture
def health(server: SmallServer, monkeypatch: pytest.MonkeyPatch) -> Health:
    """The health of a replica that serves both, each with its right golden answer."""
    monkeypatch.setattr(deployment_readiness, "WORKERS_EVERY_S", 0.0)
    monkeypatch.setattr(deployment_readiness, "GOLDEN_EVERY_S", 0.0)
    status = Status(registry="reachable")
    status.tell(dict.fromkeys(NAMES, "1"), [], [], [])
    for name in NAMES:
        _expect(server, name, 1)
    return Health(status, server.api, server.store)


def _expect(server: SmallServer, name: str, response: int, request: str = "x") -> None:
    folder = server.store.unpacked(name, "1")
    folder.mkdir(exist_ok=True)
    (folder / "golden.json").write_text(json.dumps({"request": request, "response": response}))


def _degraded(health: Health) -> dict[str, str]:
    degraded = health.ready()[1]["degraded"]
    assert isinstance(degraded, dict)
    return degraded


def test_a_long_request_makes_nobody_unready(server: SmallServer, health: Health) -> None:
    """While one model computes, whatever it may take, /ready is answered at once, and the replica is ready."""
    with ThreadPoolExecutor(1) as pool:
        request = pool.submit(requests.post, server.url("one"), data=b"long", timeout=30)
        while not request.done():
            began = time.monotonic()
            is_ready, document = health.ready()
            assert is_ready, document
            assert time.monotonic() - began < 2  # as long as the gateway waits
            assert requests.post(server.url("other"), data=b"x", timeout=5).status_code == 200
        assert request.result().status_code == 504
    until("none is degraded", lambda: not _degraded(health))


def test_a_deployment_without_a_worker_is_told(server: SmallServer, health: Health) -> None:
    """While the worker of one deployment is away, the replica is ready for the others, and names that one."""
    until("none is degraded", lambda: not _degraded(health))
    served = server.api.version("one")
    assert served is not None
    for pid in served.pids:
        os.kill(pid, signal.SIGKILL)
    until("one is degraded", lambda: _degraded(health) == {"one": "version 1: None of the version's workers is up."})
    assert health.ready()[0]
    until("none is degraded", lambda: not _degraded(health))


def test_a_wrong_golden_answer(server: SmallServer, health: Health) -> None:
    """A deployment that answers wrongly is named; when all do, the replica is not ready."""
    until("none is degraded", lambda: not _degraded(health))
    _expect(server, "one", 2)
    until("one is degraded", lambda: "one" in _degraded(health))
    assert _degraded(health) == {"one": "version 1: The golden request is answered with 1: expected 2."}
    assert health.ready()[0]
    _expect(server, "one", 1, "refused")
    rejected = "version 1: The golden request is rejected: "
    until("one is degraded as it is rejected", lambda: _degraded(health).get("one", "").startswith(rejected))
    _expect(server, "one", 2)
    until("one is degraded", lambda: "answered with" in _degraded(health).get("one", ""))
    _expect(server, "other", 2)
    until("the replica is not ready", lambda: not health.ready()[0])
    assert str(health.ready()[1]["message"]).startswith("No deployment can answer. one version 1: The golden request")
