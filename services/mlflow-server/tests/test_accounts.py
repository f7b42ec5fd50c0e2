"""A real server with accounts: what each may do, asked over HTTP as MLflow's client asks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Running

PASSWORDS = {name: f"{name}-has-a-password" for name in ("admin", "trainer", "controller", "client")}
MODEL = {"name": "ride"}
VERSION = {**MODEL, "version": "1"}
TAG = {"key": "serving.status", "value": "ready"}
# Method, path below the API, and body or query.
READ = ("GET", "registered-models/search", {})
TELL = ("POST", "model-versions/set-tag", {**VERSION, **TAG})
TELL_OF_REPLICA = ("POST", "registered-models/set-tag", {**MODEL, "key": "serving.replica.one", "value": "x"})
FORGET_REPLICA = ("DELETE", "registered-models/delete-tag", {**MODEL, "key": "serving.replica.one"})
BEAT = ("POST", "experiments/set-experiment-tag", {"experiment_id": "0", **TAG})
MOVE = ("POST", "registered-models/alias", {**MODEL, "alias": "champion", "version": "1"})
WITHDRAW = ("DELETE", "registered-models/alias", {**MODEL, "alias": "champion"})
DELETE = ("DELETE", "registered-models/delete", {**MODEL})
TRAIN = ("POST", "runs/create", {"experiment_id": "EXPERIMENT"})
DELETE_EXPERIMENT = ("POST", "experiments/delete", {"experiment_id": "EXPERIMENT"})
MAKE_ACCOUNT = ("POST", "users/create", {"username": "mallory", "password": "long-enough-for-it"})
BECOME_ADMIN = ("PATCH", "users/update-admin", {"username": "NAME", "is_admin": True})
CHANGE_ADMIN = ("PATCH", "users/update-password", {"username": "admin", "password": "long-enough-for-it"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server's data and the passwords lie."""
    folder = tmp_path_factory.mktemp("accounts")
    (folder / "accounts.json").write_text(json.dumps(PASSWORDS), "utf-8")
    return folder


@pytest.fixture(scope="module")
def url(folder: Path, running: Running) -> Iterator[str]:
    """A server on which somebody else has an experiment, an artifact and a model with the alias."""
    with running(folder, SIGNET_ACCOUNTS_FILE=str(folder / "accounts.json")) as server:
        assert ask(server.url, "admin", "POST", "registered-models/create", MODEL).ok
        assert ask(server.url, "admin", "POST", "model-versions/create", {**MODEL, "source": "s3://elsewhere/x"}).ok
        assert ask(server.url, "admin", *MOVE).ok
        for api in ("api", "ajax-api"):
            put = requests.put(_artifact(server.url, api), data=b"note", auth=("admin", PASSWORDS["admin"]), timeout=30)
            assert put.ok, put.text
        yield server.url


@pytest.fixture(scope="module")
def experiment(url: str) -> str:
    """Somebody else's."""
    made: str = ask(url, "admin", "POST", "experiments/create", {"name": "theirs"}).json()["experiment_id"]
    return made


def ask(url: str, name: str | None, method: str, path: str, content: dict[str, Any]) -> requests.Response:
    """Ask as that account."""
    sent = {"params": content} if method == "GET" else {"json": content}
    auth = (name, PASSWORDS[name]) if name else None
    return requests.request(method, f"{url}/api/2.0/mlflow/{path}", auth=auth, timeout=30, **sent)  # type: ignore[arg-type]  # whatever requests takes


def _artifact(url: str, api: str) -> str:
    return f"{url}/{api}/2.0/mlflow-artifacts/artifacts/0/note.txt"


@pytest.mark.parametrize(
    ("name", "question", "status"),
    [
        (None, READ, 401),
        (None, MOVE, 401),
        ("controller", READ, 200),
        ("controller", TELL, 200),
        ("controller", TELL_OF_REPLICA, 200),
        ("controller", FORGET_REPLICA, 200),
        ("controller", BEAT, 200),
        ("controller", WITHDRAW, 403),
        ("controller", DELETE, 403),
        ("controller", TRAIN, 403),
        ("trainer", TRAIN, 200),
        ("trainer", MOVE, 200),
        ("trainer", WITHDRAW, 403),
        ("trainer", DELETE, 403),
        ("trainer", DELETE_EXPERIMENT, 403),
        ("client", MOVE, 200),
        ("client", WITHDRAW, 200),
        ("client", TRAIN, 403),
        ("client", DELETE_EXPERIMENT, 403),
        *(
            (name, question, 403)
            for name in ("controller", "trainer", "client")
            for question in (MAKE_ACCOUNT, BECOME_ADMIN, CHANGE_ADMIN)
        ),
        ("admin", MAKE_ACCOUNT, 200),
    ],
)
def test_what_each_account_may_do(
    url: str, experiment: str, name: str | None, question: tuple[str, str, dict[str, Any]], status: int
) -> None:
    """Each service's account does what that service does, and nobody's makes accounts but the admin's."""
    method, path, content = question
    said = {key: {"EXPERIMENT": experiment, "NAME": name}.get(str(value), value) for key, value in content.items()}
    answer = ask(url, name, method, path, said)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("api", ["api", "ajax-api"])
def test_artifacts_are_for_accounts(url: str, api: str) -> None:
    """Ours in place of MLflow's routes stand behind the accounts, too."""
    assert requests.get(_artifact(url, api), timeout=30).status_code == 401
    assert requests.get(_artifact(url, api), auth=("controller", "wrong"), timeout=30).status_code == 401
    found = requests.get(_artifact(url, api), auth=("controller", PASSWORDS["controller"]), timeout=30)
    assert (found.status_code, found.content) == (200, b"note")
    put = requests.put(_artifact(url, api), data=b"x", auth=("stranger", "long-enough-for-it"), timeout=30)
    assert put.status_code == 401


def test_health_needs_no_account(url: str) -> None:
    """The container's own check has none."""
    assert requests.get(f"{url}/health", timeout=30).ok


def test_another_password_in_the_file_takes_the_place_of_the_accounts(url: str, folder: Path, running: Running) -> None:
    """The file wins at the next start, and what the accounts were granted stays."""
    assert ask(url, "controller", *READ).ok
    changed = {**PASSWORDS, "controller": "quite-another-password"}
    (folder / "accounts.json").write_text(json.dumps(changed), "utf-8")
    with running(folder, SIGNET_ACCOUNTS_FILE=str(folder / "accounts.json")) as server:
        assert ask(server.url, "controller", *READ).status_code == 401
        tell = f"{server.url}/api/2.0/mlflow/{TELL[1]}"
        assert requests.post(tell, json=TELL[2], auth=("controller", changed["controller"]), timeout=30).ok


def test_accounts_leave_the_other_guards_in_place(url: str) -> None:
    """A page of another name, or of another origin, gets nothing with a browser that has signed in."""
    auth = ("admin", PASSWORDS["admin"])
    search, move = (f"{url}/api/2.0/mlflow/{question[1]}" for question in (READ, MOVE))
    assert requests.get(search, headers={"Host": "rebound.example.org"}, auth=auth, timeout=30).status_code == 403
    foreign = {"Origin": "https://elsewhere.example.org"}
    assert requests.post(move, json=MOVE[2], headers=foreign, auth=auth, timeout=30).status_code == 403
