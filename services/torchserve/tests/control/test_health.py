from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from signet_torchserve.archive.golden import Golden
from signet_torchserve.archive.store import Store
from signet_torchserve.control import health
from signet_torchserve.control.controller_status import Status
from signet_torchserve.control.health import Health
from signet_torchserve.server.client import TorchServe

from testing.ports import free_port
from testing.repository import ROOT

GOLDEN = {"request": {"inputs": {"a": [1.5]}}, "response": {"predictions": [3.0]}}


@pytest.fixture
def status() -> Status:
    return Status()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "home")
    yield store
    store.close()


@pytest.fixture
def url(status: Status, store: Store) -> str:
    """The health server of a replica whose TorchServe is away."""
    folder = store.unpacked("iris", "3")
    folder.mkdir()
    (folder / "golden.json").write_text(json.dumps(GOLDEN))
    assert Golden.of(folder) == Golden(**GOLDEN)
    url = f"http://127.0.0.1:{free_port()}"
    health.serve(url, Health(status, TorchServe(Path("management.sock"), "http://127.0.0.1:9"), store))
    return url


def test_live_is_torchserves_own_answer(url: str) -> None:
    """Where TorchServe's API does not answer, the replica does not live."""
    answer = requests.get(f"{url}/live", timeout=10)
    assert (answer.status_code, answer.json()) == (503, {"live": False, "message": "TorchServe does not answer."})
    assert requests.get(f"{url}/", timeout=10).status_code == 404


@pytest.mark.parametrize(
    ("deployments", "pending", "refused", "registry", "message"),
    [
        ({}, [], [], "reachable", "No registered model is served."),
        ({}, [], ["iris"], "reachable", "No registered model is served. Refused: iris."),
        ({}, ["iris"], [], "reachable", "Not served yet: iris."),
        (
            {},
            ["iris"],
            [],
            "http://mlflow-server:5000: refused",
            "Not served yet: iris. The registry is not reachable: http://mlflow-server:5000: refused",
        ),
        ({"iris": "3"}, ["digits"], [], "reachable", "Not served yet: digits."),
        (
            {"iris": "3"},
            [],
            [],
            "reachable",
            "No deployment can answer. iris version 3: TorchServe does not answer GET http",
        ),
    ],
)
def test_ready_says_what_is_not_served(  # noqa: PLR0913, PLR0917 -- a row of the table
    deployments: dict[str, str], pending: list[str], refused: list[str], registry: str, message: str,
    status: Status, url: str,
) -> None:  # fmt: skip
    """A replica is not ready before every champion had its turn, nor while no deployment can answer."""
    status.registry = registry
    status.tell(deployments, pending, [], refused)
    answer = requests.get(f"{url}/ready", timeout=10)
    document = answer.json()
    assert answer.status_code == 503
    assert document.pop("message").startswith(message)
    assert set(document.pop("degraded")) == (set(deployments) if message.startswith("No deployment") else set())
    assert document == {
        "ready": False,
        "deployments": deployments,
        "pending": pending,
        "failed": [],
        "refused": refused,
        "stranded": {},
        "troubles": {},
        "errors": 0,
        "registry": registry,
        "untold": "",
    }


def test_the_containers_check_asks_for_ready(status: Status, url: str) -> None:
    """Its exit code is 1 while the replica is not ready, with one line that says why; so it is if nobody answers."""
    status.tell({}, ["iris"], [], [])

    def check(address: str) -> tuple[int, str]:
        config = ROOT / "config.properties"
        environment = {"SIGNET_HEALTH_ADDRESS": address, "TS_CONFIG_FILE": str(config)}
        command = [sys.executable, "-m", "signet_torchserve.control.health"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)
        return done.returncode, done.stderr

    assert check(url) == (1, "Not served yet: iris. The registry is not reachable: not asked yet\n")
    code, line = check(f"http://127.0.0.1:{free_port()}")
    assert (code, "Connection refused" in line) == (1, True)


def test_a_taken_address_is_refused(status: Status, store: Store) -> None:
    """The health server does not share its port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match="in use"):
            health.serve(url, Health(status, TorchServe(Path("management.sock"), url), store))
