"""MLflow with accounts: the stack's own services sign in, nobody else is let in, and the gateway may open it."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPSConnection
from select import select
from typing import TYPE_CHECKING

import pytest
import requests
import yaml
from compose_stack import PROJECT
from elsewhere import certify

from testing.polling import until
from testing.ports import free_port
from testing.repository import MODEL, ROOT, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from compose_stack import ComposeStack

pytestmark = pytest.mark.compose

SEARCH = "/api/2.0/mlflow/registered-models/search"
TAG = "/api/2.0/mlflow/registered-models/set-tag"
NOBODY = requests.auth.HTTPBasicAuth("admin", "admin")


@dataclass(frozen=True)
class MlflowDoor:
    """MLflow as the gateway opens it to a network."""

    port: int
    authority: Path

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def ask(self, path: str, method: str = "GET", **more: object) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False  # a bundle that the environment names would go before ours
            return session.request(
                method, self.url + path, timeout=10, verify=str(self.authority), allow_redirects=False, **more  # type: ignore[arg-type]  # requests' own names
            )  # fmt: skip

    def sent(self, path: str, *headers: tuple[str, str]) -> tuple[int, str | None, str | None]:
        """Ask as no client would, the path as it is, headers twice; status, the gateway's type, and how to sign in."""
        context = ssl.create_default_context(cafile=str(self.authority))
        with closing(HTTPSConnection("127.0.0.1", self.port, timeout=10, context=context)) as connection:
            connection.putrequest("GET", path)
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            body = answer.read()
        kind = json.loads(body)["type"] if answer.getheader("Content-Type") == "application/json" else None
        return answer.status, kind, answer.getheader("WWW-Authenticate")


@pytest.fixture(scope="module")
def door(compose: ComposeStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowDoor]:
    """A container that runs what compose/public-mlflow.yml says, with a certificate and somebody's token."""
    del compose  # which has built the image
    folder = tmp_path_factory.mktemp("mlflow-door")
    certify(folder)
    (folder / "run").mkdir(mode=0o755)
    (folder / "both.pem").rename(folder / "run" / "certificate.pem")
    (folder / "run" / "tokens.map").write_text(f"{'A' * 64} somebody * 0 0 0 0\n", "utf-8")
    with _running(folder / "run") as port:
        yield MlflowDoor(port, folder / "ca.pem")


@contextmanager
def _running(folder: Path) -> Iterator[int]:
    name, port = f"{PROJECT}-mlflow-door", free_port()
    command = yaml.safe_load((ROOT / "compose" / "public-mlflow.yml").read_text())["services"]["gateway"]["command"]
    options = [f"--name={name}", f"--network={PROJECT}_predictions", f"--publish=127.0.0.1:{port}:8444"]
    create = ["create", *options, f"--volume={folder}:/run/door:ro", "signet/gateway:0.1.0", *command]
    try:
        for words in (create, ["network", "connect", f"{PROJECT}_deployment", name], ["start", name]):
            subprocess.run(["docker", *words], capture_output=True, check=True, timeout=60)
        yield port
    finally:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=True, timeout=60)


@pytest.fixture(scope="module")
def admin(compose: ComposeStack, door: MlflowDoor) -> Iterator[tuple[str, str]]:
    """Name and password of who may do everything; meanwhile MLflow has accounts."""
    with compose.laid_over("compose/accounts.yml"):
        signed_in = ("admin", compose.secret("mlflow-server", "admin_password"))
        until("the gateway opens MLflow", lambda: door.ask(SEARCH, auth=signed_in).ok, timeout_s=20)
        yield signed_in


def test_mlflow_without_accounts_stays_shut(door: MlflowDoor) -> None:
    """While anybody could do anything there, the gateway hands on nothing, whatever somebody signs in with."""
    (shut,) = until("the gateway answers", lambda: [door.ask(SEARCH, auth=NOBODY)], timeout_s=10)
    assert (shut.status_code, shut.json()["type"]) == (503, "MlflowAway")


def test_nobody_is_let_in_without_an_account(compose: ComposeStack, door: MlflowDoor, admin: tuple[str, str]) -> None:
    """Neither at the gateway nor on this machine; and the gateway asks MLflow nothing for who doesn't sign in."""
    assert requests.get(compose.mlflow_url + SEARCH, timeout=10).status_code == 401
    assert requests.get(compose.mlflow_url + SEARCH, auth=NOBODY, timeout=10).status_code == 401
    assert requests.get(compose.mlflow_url + SEARCH, auth=admin, timeout=10).ok
    assert (door.ask(SEARCH, auth=NOBODY).status_code, door.ask(SEARCH, auth=admin).status_code) == (401, 200)
    page = door.ask("/", auth=admin)
    assert (page.status_code, "MLflow" in page.text) == (200, True)

    basic = requests.auth._basic_auth_str(*admin)
    right = ("Authorization", basic)
    for headers in (
        [],
        [right, right],
        [right, ("authorization", "Basic eDp5")],
        [("Authorization", basic + ",")],
        [("Authorization", f"Bearer {basic.split()[1]}")],
        [("Authorization", "Basic")],
        [("Proxy-Authorization", basic)],
        [("X-MLflow-Authorization", basic)],
        [("Cookie", f"Authorization={basic}")],
    ):
        for path in (SEARCH, "/", "/health", "/version", "/signup", "/metrics", "/api/2.0/mlflow/server-info"):
            assert door.sent(path, *headers) == (401, "AccountMissing", 'Basic realm="mlflow"'), (path, headers)


@pytest.mark.parametrize(
    "path",
    ["/health/..", "/static-files/./x", "//api", "/a/%2e%2e/b", "/a%2Fb", "/health%5c", "/health%00", "/a/%2E./b"],
)
def test_a_path_is_what_it_stands_for(door: MlflowDoor, admin: tuple[str, str], path: str) -> None:
    """What one part of MLflow might read otherwise than another is refused before both."""
    answer = door.sent(path + SEARCH, ("Authorization", requests.auth._basic_auth_str(*admin)))
    assert answer == (404, "NoSuchPath", None)


def test_an_address_takes_no_more_than_its_part(door: MlflowDoor) -> None:
    """Of 120 connections from one address 20 are closed, whichever of them come last; the others stay."""
    with ExitStack() as stack:
        connect = partial(socket.create_connection, ("127.0.0.1", door.port), timeout=5)
        connections = [stack.enter_context(connect()) for _ in range(120)]
        until("20 are closed", lambda: len(select(connections, [], [], 0)[0]) == 20, timeout_s=5)


def test_pages_of_others_change_nothing(door: MlflowDoor, admin: tuple[str, str]) -> None:
    """A browser signs in by itself, for a page of another origin too: that one may change nothing."""
    tag = {"name": MODEL, "key": "seen", "value": "yes"}
    forged = {"X-Forwarded-Host": "localhost", "Forwarded": "host=localhost"}
    for origin, status in ((door.url, 200), ("https://elsewhere.example.org", 403), ("null", 403)):
        told = door.ask(TAG, "POST", json=tag, auth=admin, headers={"Origin": origin, **forged})
        assert told.status_code == status, (origin, told.text)


def test_the_stack_goes_on_with_accounts(compose: ComposeStack, admin: tuple[str, str]) -> None:
    """Training, the controller and the client do what they did; no log has a password."""
    trained = compose.train("--max_epochs", "5")
    assert trained.returncode == 0, trained.stdout + trained.stderr
    found = requests.get(compose.mlflow_url + SEARCH, auth=admin, timeout=10).json()["registered_models"]
    (newest,) = [model["latest_versions"][0]["version"] for model in found if model["name"] == MODEL]
    deployed = compose.client("deploy", "--serialized_file_path", f"models:/{MODEL}/{newest}")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    sample = (SAMPLES / "sample.json").read_bytes()
    url = f"{compose.predictions_url}/predictions/{MODEL}"
    until(
        "the new version answers",
        lambda: requests.put(url, data=sample, timeout=10).headers.get("X-Model-Version") == newest,
        timeout_s=20,
    )
    assert '"untold": ""' in compose.told("http://127.0.0.1:8083/ready")
    logs = compose.compose("logs", "--no-color", "mlflow-server", "torchserve").stdout
    assert admin[1] not in logs
    assert compose.secret("torchserve", "mlflow_password") not in logs


@pytest.mark.usefixtures("admin")
def test_who_guesses_passwords_is_kept_waiting(door: MlflowDoor) -> None:
    """A wrong password costs MLflow as much as a right one: after some, no more of them reach it for a while.

    The last test at this door, which is shut to this machine then.
    """
    answers = [door.ask(SEARCH, auth=("admin", f"guess {number}")) for number in range(40)]
    statuses = [answer.status_code for answer in answers]
    assert statuses == sorted(statuses)
    assert set(statuses) == {401, 429}
    assert (answers[-1].json()["type"], answers[-1].headers["Retry-After"]) == ("TooManyGuesses", "60")
