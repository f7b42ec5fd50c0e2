"""The gateway before small replicas, in containers of their own: whom it asks, and how often."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest
import requests
import yaml

from testing.docker import docker
from testing.polling import until
from testing.ports import free_port
from testing.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.compose

REPLICAS = 17
NAME = "signet-test-gateway"
SMALL = ROOT / "tests" / "integration" / "small_replica.py"


@dataclass
class Gateway:
    """The gateway and the addresses of the replicas behind it."""

    url: str
    replicas: list[str]

    def ask(self, name: str) -> requests.Response:
        return requests.post(f"{self.url}/predictions/{name}", data=b"{}", timeout=40)

    def asked(self, name: str) -> int:
        """How often all replicas together were asked for that."""
        return sum(requests.get(f"http://{ip}:8083/seen", timeout=10).json().get(name, 0) for ip in self.replicas)


@contextmanager
def _before(replicas: int) -> Iterator[Gateway]:
    """A gateway that has seen so many replicas, the last of which lacks the deployment `new` if there are several."""
    port, containers, network = free_port(), list[str](), f"{NAME}-{replicas}"
    docker("compose", "build", "--quiet", "gateway")
    image = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["gateway"]["image"]
    docker("network", "create", network)
    run = partial(docker, "run", "--detach", "--rm", f"--network={network}")
    try:
        for number in range(replicas):
            lacks = f"--env=LACKS_NEW={int(0 < number == replicas - 1)}"
            mount = f"--volume={SMALL}:/small_replica.py:ro"
            program = ("python:3.11-slim-bookworm", "python", "/small_replica.py")
            containers.append(run("--network-alias=torchserve", lacks, mount, *program))
        addresses = [
            json.loads(docker("inspect", container))[0]["NetworkSettings"]["Networks"][network]["IPAddress"]
            for container in containers
        ]
        containers.append(run(f"--publish=127.0.0.1:{port}:8080", image))
        yield Gateway(f"http://127.0.0.1:{port}", addresses)
    finally:
        docker("rm", "--force", *containers)
        until("the containers are gone", lambda: docker("network", "rm", network), timeout_s=30, interval_s=0.5)


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """Before many replicas."""
    with _before(REPLICAS) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def lone_gateway() -> Iterator[Gateway]:
    """Before one."""
    with _before(1) as gateway:
        until("it answers", lambda: gateway.ask("ok").status_code == 200, timeout_s=60)
        yield gateway


def test_every_replica_is_asked(gateway: Gateway) -> None:
    """The seventeenth gets its share, too."""

    def answering() -> set[str]:
        return {gateway.ask("ok").text for _ in range(2 * REPLICAS)}

    until("all are asked", lambda: len(answering()) == REPLICAS, timeout_s=60)


def test_a_replica_that_lacks_a_deployment_costs_no_request(gateway: Gateway) -> None:
    """Where one replica does not yet serve what the others do, the next one is asked."""
    assert {gateway.ask("new").status_code for _ in range(3 * REPLICAS)} == {200}


@pytest.mark.parametrize(
    ("name", "status", "times"),
    [
        pytest.param("poison", 500, 2, id="its worker dies"),
        pytest.param("end", 502, 2, id="its replica dies"),
        pytest.param("unknown", 404, 2, id="no such deployment"),
        pytest.param("full", 429, 1, id="overload"),
        pytest.param("slow", 504, 1, id="time-out"),
        pytest.param("fault", 500, 1, id="a model's own failure"),
    ],
)
def test_how_often_a_request_is_asked(gateway: Gateway, name: str, status: int, times: int) -> None:
    """What ends its worker ends two at most; what another replica could only repeat is asked once."""
    before = gateway.asked(name)
    answer = gateway.ask(name)
    assert answer.status_code == status, answer.text
    assert gateway.asked(name) - before == times


@pytest.mark.parametrize(
    ("name", "status"),
    [pytest.param("poison", 500, id="its worker dies"), pytest.param("fall", 502, id="its replica dies")],
)
def test_a_request_ends_no_third(lone_gateway: Gateway, name: str, status: int) -> None:
    """A request that ends the only replica, or its worker, again and again gets its error after the second."""
    before = lone_gateway.asked(name)
    answer = lone_gateway.ask(name)
    assert answer.status_code == status, answer.text
    asked = until("the replica is back", lambda: lone_gateway.asked(name) - before, timeout_s=30)
    assert asked == 2
    assert lone_gateway.ask("ok").status_code == 200


def test_a_lone_replica_is_not_asked_for_a_failure_again(lone_gateway: Gateway) -> None:
    """It would compute it once more, and fail once more."""
    before = lone_gateway.asked("fault")
    assert lone_gateway.ask("fault").status_code == 500
    assert lone_gateway.asked("fault") - before == 1


def test_a_lone_replica_that_ends_piece_by_piece(lone_gateway: Gateway) -> None:
    """Requests wait for it even if it says that it is ready for a while after it has closed its port."""
    assert lone_gateway.ask("linger").status_code == 200
    assert lone_gateway.ask("ok").status_code == 200


@pytest.mark.parametrize("is_announced", [True, False], ids=["with its length", "in chunks"])
def test_a_replica_gets_few_large_requests_at_once(lone_gateway: Gateway, *, is_announced: bool) -> None:
    """The others wait, and are answered as well; many small ones go on at the same time."""
    large = b" " * 40_000

    def ask(size: int) -> int:
        body = large[:size] if is_announced else iter([large[:size]])
        return requests.post(f"{lone_gateway.url}/predictions/busy", data=body, timeout=40).status_code

    def busiest(size: int) -> int:
        requests.get(f"http://{lone_gateway.replicas[0]}:8083/forget", timeout=10)
        with ThreadPoolExecutor(12) as pool:
            assert set(pool.map(ask, [size] * 12)) == {200}
        return lone_gateway.asked("busiest")

    assert busiest(40_000) == busiest(17_000) == 4
    assert busiest(16_000) > 4


def test_retries_have_a_budget(gateway: Gateway) -> None:
    """A storm of requests that end their workers is not doubled; and what then comes is answered."""
    storm, before = 1000, gateway.asked("poison")
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: gateway.ask("poison").status_code, range(storm))) == {500}
    retries = gateway.asked("poison") - before - storm
    assert 0 < retries < storm / 2
    assert gateway.ask("ok").status_code == 200
