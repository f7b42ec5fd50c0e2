"""The serving half alone, at an MLflow server of somebody else: `make serve`, or docker-compose.serving.yml."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import requests
from elsewhere import ADMIN, TOKEN, Elsewhere, elsewhere

from testing.numbered_model import NumberedModel
from testing.polling import until
from testing.ports import free_port
from testing.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from embedded_stack import EmbeddedStack

pytestmark = [pytest.mark.embedded, pytest.mark.compose]  # each has a serving half of its own

PROJECT = "signet-serving"
READER = {"MLFLOW_TRACKING_USERNAME": "reader", "MLFLOW_TRACKING_PASSWORD": "may-read-and-no-more"}
WRITER = {"MLFLOW_TRACKING_USERNAME": "writer", "MLFLOW_TRACKING_PASSWORD": "may-write-tags-too"}
WRONG = {"MLFLOW_TRACKING_USERNAME": "reader", "MLFLOW_TRACKING_PASSWORD": "mistyped"}


class Processes:
    """What `make serve` starts, in a folder of the test's."""

    def __init__(self, folder: Path, server: Elsewhere, stores: Mapping[str, str]) -> None:
        self._folder, self._server, self._stores = folder, server, stores
        self._urls: Any = None

    @contextmanager
    def signed_in(self, account: Mapping[str, str]) -> Iterator[str]:
        from embedded.stack import opened, serving

        where = {"MLFLOW_TRACKING_URI": self._server.url, "MLFLOW_TRACKING_SERVER_CERT_PATH": str(self._server.ca)}
        with opened(self._folder, parts=serving({**where, **self._stores, **account})) as stack:
            stack.wait_ready()
            self._urls = stack.urls
            yield stack.urls.torchserve

    def ready(self) -> dict[str, Any]:
        document: dict[str, Any] = requests.get(self._urls.health + "/ready", timeout=10).json()
        return document


class Containers:
    """docker-compose.serving.yml as a project of its own."""

    def __init__(self, folder: Path, server: Elsewhere) -> None:
        self._env_file = folder / "empty.env"
        self._env_file.touch()
        self._server, self._port = server, str(free_port())
        self._compose("--profile", "client", "build", "--quiet", timeout_s=1200)

    @contextmanager
    def signed_in(self, account: Mapping[str, str]) -> Iterator[str]:
        where = {
            "MLFLOW_TRACKING_URI": self._server.url_from_containers,
            "MLFLOW_TRACKING_SERVER_CERT_PATH": str(self._server.ca),
            "TORCHSERVE_PORT": self._port,
        }
        self._compose("up", "--detach", env={**where, **account})
        yield f"http://127.0.0.1:{self._port}"

    def ready(self) -> dict[str, Any]:
        code = (
            "import urllib.request as r, urllib.error as e\n"
            "try: print(r.urlopen('http://127.0.0.1:8083/ready').read().decode())\n"
            "except e.HTTPError as answer: print(answer.read().decode())\n"
            'except OSError: print(\'{"message": "", "registry": "not asked yet"}\')'
        )
        document: dict[str, Any] = json.loads(self._compose("exec", "-T", "torchserve", "python", "-c", code))
        return document

    def remove(self) -> None:
        self._compose("--profile", "client", "down", "--volumes", "--timeout", "1")

    def _compose(self, *args: str, env: Mapping[str, str] | None = None, timeout_s: float = 120) -> str:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MLFLOW_"))}
        files = ["-p", PROJECT, "-f", "docker-compose.serving.yml", "--env-file", str(self._env_file)]
        done = subprocess.run(
            ["docker", "compose", *files, *args],
            cwd=ROOT,
            env={**clean, "MLFLOW_TRACKING_URI": self._server.url_from_containers, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout


@pytest.fixture(scope="module")
def stores(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """What leads to the S3 store of the stack of processes; nothing with containers."""
    if request.config.getoption("--stack") == "compose":
        return {}
    from embedded.services import seaweedfs

    stack: EmbeddedStack = request.getfixturevalue("processes")
    return seaweedfs.env(stack.processes.folder, stack.processes.addresses["s3"])


@pytest.fixture(scope="module")
def server(stores: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    """With one deployment, and accounts. With processes its artifacts lie in S3, which it leaves to its clients."""
    folder = tmp_path_factory.mktemp("elsewhere")
    if stores:
        arguments = ["--default-artifact-root", "s3://mlflow/elsewhere", "--no-serve-artifacts"]
    else:
        arguments = ["--artifacts-destination", str(folder / "artifacts")]
    with elsewhere(folder, arguments, stores, behind_proxy=not stores) as running:
        with running.as_account(ADMIN, **stores):
            from mlflow.server import get_app_client

            accounts = get_app_client("basic-auth", running.url)
            for account in (READER, WRITER):
                accounts.create_user(*account.values())
            accounts.grant_user_permission("writer", "registered_model", "*", "EDIT")
            accounts.grant_user_permission("writer", "experiment", "*", "EDIT")
            model = NumberedModel(running.url, "")
            model.client.set_registered_model_alias(model.name, "champion", model.log())
        yield running


@pytest.fixture(scope="module")
def serving(
    stores: Mapping[str, str], server: Elsewhere, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Processes | Containers]:
    """The serving half, which runs for as long as an account is signed in."""
    folder = tmp_path_factory.mktemp("serving")
    if stores:
        yield Processes(folder, server, stores)
        return
    containers = Containers(folder, server)
    try:
        yield containers
    finally:
        containers.remove()


def _answer(url: str) -> object:
    answer = requests.post(f"{url}/predictions/numbered", json={"inputs": [[1, 2]]}, timeout=30)
    return answer.json() if answer.ok else None


def test_a_wrong_password_is_said_and_is_no_storm(serving: Processes | Containers, server: Elsewhere) -> None:
    """`/ready` names what is wrong, and the server is asked less and less."""
    with serving.signed_in(WRONG):
        message = until("the registry is asked", lambda: _refusal(serving), timeout_s=60)
        assert "MLflow does not accept the account (401)" in message
        assert "MLFLOW_TRACKING_PASSWORD" in message or "MLFLOW_TRACKING_USERNAME" in message
        assert WRONG["MLFLOW_TRACKING_PASSWORD"] not in message
        before = server.refusals()
        time.sleep(10)  # the time is what is measured
        assert server.refusals() - before <= 4


def test_who_may_read_only_is_served_all_the_same(serving: Processes | Containers, server: Elsewhere) -> None:
    """The deployment answers; that the registry can't be told is said, and the version's tags stay as they are."""
    with serving.signed_in(READER) as url:
        until("the model answers", lambda: _answer(url) == {"predictions": [1003.0]}, timeout_s=90)
        ready = until(
            "the tags are tried", lambda: (it := serving.ready())["untold"] and it["ready"] and it, timeout_s=30
        )
        assert ready["registry"] == "reachable"
        assert "MLflow does not let the account do this (403)" in ready["message"]
    assert "serving.status" not in _tags(server)


def test_it_is_told_what_is_served(serving: Processes | Containers, server: Elsewhere) -> None:
    """With an account that may write tags, or a token of such a one, the version is said to be ready."""
    token = {"MLFLOW_TRACKING_TOKEN": TOKEN}
    with serving.signed_in(WRITER if isinstance(serving, Processes) else token) as url:
        until("the version is told to be ready", lambda: _tags(server).get("serving.status") == "ready", timeout_s=90)
        until("the model answers", lambda: _answer(url) == {"predictions": [1003.0]}, timeout_s=30)
        assert serving.ready()["untold"] == ""
        refused = requests.post(f"{url}/predictions/numbered", json={"inputs": [["one", 2]]}, timeout=30)
        assert (refused.status_code, refused.json()["errors"][0]["rule"]) == (400, "type")


def _refusal(serving: Processes | Containers) -> str | None:
    document = serving.ready()
    return None if document["registry"] == "not asked yet" else str(document["message"])


def _tags(server: Elsewhere) -> dict[str, str]:
    with server.as_account(ADMIN):
        return NumberedModel(server.url, "").tags("1")
