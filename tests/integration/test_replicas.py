"""Several replicas of TorchServe behind one address; they share nothing but the registry."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import requests

from testing.docker import docker
from testing.polling import until
from testing.ports import free_port
from testing.repository import ALIAS, MODEL, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from compose_stack import ComposeStack
    from mlflow import MlflowClient

pytestmark = pytest.mark.compose

Told = tuple[requests.Response, subprocess.CompletedProcess[str]]


@contextmanager
def _no_request_fails(url: str) -> Iterator[None]:
    """Ask steadily, on connections old and new, while the block runs: each request is answered with a prediction."""
    done, outcomes = threading.Event(), Counter[str]()
    body = (SAMPLES / "sample.json").read_bytes()

    def ask_on_and_on(client: Any) -> None:
        while not done.is_set():
            try:
                answer = client.put(url, data=body, timeout=40)
                outcomes[f"{answer.status_code} {answer.text[:200]}"] += 1
            except requests.RequestException as error:
                outcomes[repr(error)] += 1
            done.wait(0.01)  # a steady load, not all that the machine has: replicas start beside it

    threads = [threading.Thread(target=ask_on_and_on, args=(client,)) for client in (requests, requests.Session())]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert set(outcomes) == {"200 SETOSA"}, outcomes


def _versions(compose: ComposeStack) -> list[str]:
    """The version that each replica answers with, asked at its own address."""
    addresses = [
        network["IPAddress"]
        for replica in compose.replicas()
        for name, network in replica["NetworkSettings"]["Networks"].items()
        if name.endswith("_serving")
    ]
    body = (SAMPLES / "sample.json").read_bytes()
    answers = [requests.put(f"http://{address}:8080/predictions/{MODEL}", body, timeout=10) for address in addresses]
    return [answer.headers.get("X-Model-Version", answer.text) for answer in answers]


def _kill(replica: dict[str, Any]) -> None:
    """SIGKILL all of a replica at once, from outside its container; the restart policy must do the rest."""
    os.kill(replica["State"]["Pid"], signal.SIGKILL)


def _restarted(compose: ComposeStack, killed: dict[str, Any]) -> bool:
    """Whether a replica that was killed is back and well."""
    (replica,) = [replica for replica in compose.replicas() if replica["Id"] == killed["Id"]]
    return replica["RestartCount"] > killed["RestartCount"] and replica["State"]["Health"]["Status"] == "healthy"


@pytest.fixture(scope="module")
def three(compose: ComposeStack) -> Iterator[None]:
    """Three replicas, for as long as it takes; to come and to go they cost no request."""
    url = f"{compose.predictions_url}/predictions/{MODEL}"
    with _no_request_fails(url):
        compose.scale(3)
    yield
    with _no_request_fails(url):
        compose.scale(1)
        time.sleep(1)  # the gateway has seen it


@pytest.fixture(scope="module", autouse=True)
def answer_of_none(compose: ComposeStack) -> Iterator[Future[Told]]:
    """What a gateway without replicas answers, and its health check says then. As that takes 20 s, others go on."""
    image, port = compose.config()["services"]["gateway"]["image"], free_port()
    container = docker("run", "--detach", "--rm", f"--publish=127.0.0.1:{port}:8080", image)

    def ask() -> Told:
        address = f"http://127.0.0.1:{port}/predictions/{MODEL}"
        # In a tuple, for an answer that is an error counts as false.
        (answer,) = until("it answers", lambda: (requests.put(address, b"{}", timeout=30),), timeout_s=60)
        health = ["docker", "exec", container, "gateway-health"]
        return answer, subprocess.run(health, capture_output=True, text=True, check=False, timeout=10)

    try:
        with ThreadPoolExecutor(1) as thread:
            yield thread.submit(ask)
    finally:
        docker("kill", container)


@pytest.mark.usefixtures("three")
def test_all_follow_the_alias(compose: ComposeStack, registry: MlflowClient, url: str) -> None:
    """The alias moves under load, and within 10 s every replica serves the new champion; no request fails."""
    champion = registry.get_model_version_by_alias(MODEL, ALIAS).version
    until("all serve the champion", lambda: _versions(compose) == [str(champion)] * 3, timeout_s=10)
    other = registry.copy_model_version(f"models:/{MODEL}/{champion}", MODEL).version
    try:
        with _no_request_fails(url):
            registry.set_registered_model_alias(MODEL, ALIAS, other)
            until("all serve the new one", lambda: _versions(compose) == [str(other)] * 3, timeout_s=10)
    finally:
        registry.set_registered_model_alias(MODEL, ALIAS, champion)
    until("all serve the old one again", lambda: _versions(compose) == [str(champion)] * 3, timeout_s=10)


@pytest.mark.usefixtures("three")
def test_replica_killed(compose: ComposeStack, url: str) -> None:
    """A replica that is killed under load costs no request, and comes back."""
    killed = compose.replicas()[1]
    with _no_request_fails(url):
        _kill(killed)
        until("it is back", lambda: _restarted(compose, killed), timeout_s=60)


def test_only_replica_killed(compose: ComposeStack, url: str) -> None:
    """While the only replica is away, requests wait for it."""
    compose.scale(1)
    (killed,) = compose.replicas()
    with _no_request_fails(url):
        _kill(killed)
        until("it is back", lambda: _restarted(compose, killed), timeout_s=60)


def test_no_replica_is_ready(answer_of_none: Future[Told]) -> None:
    """A gateway that finds none says so in JSON after 20 s, by when one that died would be back."""
    answer, unhealthy = answer_of_none.result()
    assert answer.status_code == 503
    assert 18 < answer.elapsed.total_seconds() < 25
    assert answer.headers["Retry-After"] == "5"
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {
        "code": 503,
        "type": "NoReplicaReady",
        "message": "No replica is ready: none became so within 20 s.",
    }
    assert (unhealthy.returncode, unhealthy.stderr) == (1, "No replica is ready.\n")
