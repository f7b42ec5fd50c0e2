"""A real server tells whether its registry has changed."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests
from signet_mlflow_server import changes

if TYPE_CHECKING:
    from conftest import RunningServer

MODEL = {"name": "changing"}
VERSION = {**MODEL, "version": "1"}
# What is asked, and whether the registry is another one then.
STEPS: list[tuple[str, str, dict[str, Any], bool]] = [
    ("POST", "registered-models/create", MODEL, True),
    ("POST", "model-versions/create", {**MODEL, "source": "s3://elsewhere/x"}, True),
    ("POST", "registered-models/alias", {**MODEL, "alias": "champion", "version": "1"}, True),
    ("POST", "registered-models/set-tag", {**MODEL, "key": "k", "value": "v"}, True),
    ("POST", "model-versions/set-tag", {**VERSION, "key": "k", "value": "v"}, True),
    ("GET", "registered-models/get", MODEL, False),
    ("GET", "model-versions/get", VERSION, False),
    ("POST", "experiments/set-experiment-tag", {"experiment_id": "0", "key": "k", "value": "v"}, False),
    ("POST", "runs/create", {"experiment_id": "0"}, False),
    ("DELETE", "registered-models/alias", {**MODEL, "alias": "champion"}, True),
    ("DELETE", "registered-models/delete", MODEL, True),
]


def _search(url: str, etag: str = "", **headers: str) -> requests.Response:
    search = f"{url}/api/2.0/mlflow/registered-models/search"
    return requests.get(search, params={"max_results": 1}, headers={"If-None-Match": etag, **headers}, timeout=30)


def _named(name: str | None) -> dict[str, str]:
    return {} if name is None else {"X-Signet-Process": name}


def test_a_search_is_conditional(server: RunningServer) -> None:
    """It is answered 304 until something in the registry has changed, by whatever address, and not by anything else."""
    for method, path, document, is_change in STEPS:
        before = _search(server.url)
        assert before.status_code == 200
        unchanged = _search(server.url, before.headers["ETag"])
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        api = "ajax-api" if path.endswith("set-tag") else "api"
        sent: dict[str, Any] = {"params": document} if method == "GET" else {"json": document}
        assert requests.request(method, f"{server.url}/{api}/2.0/mlflow/{path}", **sent, timeout=30).ok, path
        assert _search(server.url, before.headers["ETag"]).status_code == (200 if is_change else 304), path


def _changed(answer: requests.Response) -> set[str] | None:
    told = answer.headers.get("X-Signet-Changed")
    return None if told is None else set(json.loads(told))


def test_an_answer_names_what_has_changed(server: RunningServer) -> None:
    """All models since the ETag, both names of one that was renamed; not what only the client itself has changed."""
    steps: list[tuple[str, str, dict[str, str], str | None]] = [
        ("POST", "registered-models/create", {"name": "first"}, None),
        ("POST", "registered-models/create", {"name": "zweites ü"}, "other"),
        ("POST", "registered-models/create", {"name": "own"}, "one"),
        ("POST", "model-versions/create", {"name": "first", "source": "s3://elsewhere/x"}, None),
        ("POST", "registered-models/rename", {"name": "first", "new_name": "renamed"}, None),
        ("DELETE", "registered-models/delete", {"name": "zweites ü"}, None),
    ]
    etags = []
    for method, path, document, by in steps:
        etags.append(_search(server.url, **_named("one")).headers["ETag"])
        url = f"{server.url}/api/2.0/mlflow/{path}"
        assert requests.request(method, url, json=document, headers=_named(by), timeout=30).ok
    since = [_changed(_search(server.url, etag, **_named("one"))) for etag in etags]
    every = {"first", "zweites ü", "renamed"}
    assert since == [every, every, every, every, every, {"zweites ü"}]
    assert _changed(_search(server.url, **_named("one"))) is None, "nothing to count from"


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"{}", b"[" * 5000, b'{"name": 1}', b'{"name": ["x"]}', b'{"name": "' + b"x" * 257 + b'"}',
    b'{"name": "x", "description": "' + b"x" * 70_000 + b'"}',
], ids=lambda body: body[:20].decode())  # fmt: skip
def test_nothing_is_named_where_a_change_cannot_be_told(server: RunningServer, body: bytes) -> None:
    """What MLflow makes of such a request is not known: the client has to look at all."""
    etag = _search(server.url).headers["ETag"]
    json_type = {"Content-Type": "application/json"}
    requests.post(f"{server.url}/api/2.0/mlflow/registered-models/set-tag", body, headers=json_type, timeout=30)
    answer = _search(server.url, etag)
    assert answer.status_code == 200
    assert _changed(answer) is None


@pytest.mark.parametrize("asks", [None, "one"])
@pytest.mark.parametrize("changes", [None, "one", "other"])
def test_who_gives_a_name_is_told_of_others_changes_only(
    server: RunningServer, changes: str | None, asks: str | None
) -> None:
    """Without a name all are others."""
    etag = _search(server.url, **_named(asks)).headers["ETag"]
    model = f"of-{changes}-{asks}"
    created = f"{server.url}/api/2.0/mlflow/registered-models/create"
    assert requests.post(created, json={"name": model}, headers=_named(changes), timeout=30).ok
    is_own = asks is not None and changes == asks
    assert _search(server.url, etag, **_named(asks)).status_code == (304 if is_own else 200)


@pytest.mark.parametrize(("preference", "changes", "status"), [
    ("wait=1", "other", 200), ("respond-async, wait=99", "other", 200),
    pytest.param(f"wait={'9' * 5000}", "other", 200, id="a long number"),
    ("wait=99", "one", 304), ("wait=0", None, 304),
])  # fmt: skip
def test_who_prefers_to_wait_is_told_of_a_change_when_it_comes(
    server: RunningServer, preference: str, changes: str | None, status: int
) -> None:
    """Of others' changes at once; if none comes, the answer is 304 after a second, or after less if that is asked."""
    etag = _search(server.url, **_named("one")).headers["ETag"]
    with ThreadPoolExecutor() as pool:
        began = time.monotonic()
        waiting = pool.submit(_search, server.url, etag, **_named("one"), Prefer=preference)
        if changes:
            with pytest.raises(TimeoutError):
                waiting.result(0.2)
            created = f"{server.url}/api/2.0/mlflow/registered-models/create"
            model = f"waited-for-{preference[-1]}-{status}-{len(preference)}"
            assert requests.post(created, json={"name": model}, headers=_named(changes), timeout=30).ok
        assert waiting.result(30).status_code == status
    if changes == "one":
        assert time.monotonic() - began > 1


def test_names_that_anybody_makes_up_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once there are too many, every ETag is of the past: nobody misses a change."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    monkeypatch.setattr(changes, "_MOST_NAMES", 3)
    application = changes.Changes(app)

    def status(method: str, path: str, **headers: str) -> tuple[int, bytes | None]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": f"/api/2.0/mlflow/{path}", "headers": named}
        asyncio.run(application(scope, None, send))  # type: ignore[arg-type]  # nothing is received
        return sent[0]["status"], dict(sent[0]["headers"]).get(b"etag")

    _, etag = status("GET", "registered-models/search")
    assert etag
    for number in range(10):
        status("POST", "registered-models/create", x_signet_process=str(number))
        assert len(application._own) <= 4
        assert status("GET", "registered-models/search", if_none_match=etag.decode())[0] == 200


@pytest.mark.parametrize("etag", ["", '"0"', "*", '"-1"'])
def test_who_has_no_etag_gets_the_whole(server: RunningServer, etag: str) -> None:
    """A guess is none."""
    assert _search(server.url, etag).status_code == 200
