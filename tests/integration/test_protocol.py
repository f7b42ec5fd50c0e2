"""The prediction port at its edges: wrong methods, wrong names, bodies too large, ports that stay shut."""

from __future__ import annotations

import contextlib
import gzip
import json
import select
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

from testing.polling import until
from testing.repository import MODEL, SAMPLES

if TYPE_CHECKING:
    from stack import Stack


def test_unknown_deployment(stack: Stack) -> None:
    """A deployment that doesn't exist is TorchServe's 404 in JSON."""
    answer = requests.put(f"{stack.predictions_url}/predictions/no_such_deployment", data=b"{}", timeout=10)
    document = answer.json()
    assert (answer.status_code, document["code"]) == (404, 404)
    assert document["type"] == "ModelNotFoundException"
    assert "no_such_deployment" in document["message"]


def test_unknown_version(stack: Stack) -> None:
    """A version that isn't served is a 404, not another version's answer."""
    answer = requests.put(f"{stack.predictions_url}/predictions/{MODEL}/9999", data=b"{}", timeout=10)
    assert answer.status_code == 404, answer.text


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "GET", "HEAD"])
def test_method(url: str, method: str) -> None:
    """A method in which nothing is predicted is told those in which something is, and does nothing."""
    answer = requests.request(method, url, data=b"", timeout=10)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST, PUT")
    assert method == "HEAD" or answer.json()["type"] == "MethodNotAllowed"
    assert requests.put(url, data=(SAMPLES / "sample.json").read_bytes(), timeout=10).text == "SETOSA"


@pytest.mark.parametrize("body", [b"{}", b"x" * 100_000])
def test_compressed_body(url: str, body: bytes) -> None:
    """A compressed body is a 415 that says so."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = requests.post(url, data=gzip.compress(body), headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["type"]) == (415, "UnsupportedContentEncoding")
    assert "'gzip'" in answer.json()["message"]


@pytest.mark.parametrize("rows", [1, 5_000])
def test_json_without_a_header(url: str, rows: int) -> None:
    """What `curl -d` sends, JSON that is called a form, is answered as JSON."""
    columns = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
    body = json.dumps({"dataframe_split": {"columns": columns, "data": [[5.1, 3.5, 1.4, 0.2]] * rows}})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = requests.post(url, data=body, headers=form, timeout=30)
    assert (answer.status_code, answer.json()) == (200, {"predictions": ["SETOSA"] * rows})


def test_bad_escape(url: str) -> None:
    """A form whose escapes are no escapes is the client's 400, though no handler sees it."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = requests.post(url, data=b"data=%ZZ", headers=form, timeout=10)
    assert answer.status_code == 400
    assert "'%ZZ'" in answer.json()["message"]


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("size", [6_553_501, 20_000_000])
def test_huge_body(url: str, size: int, *, is_chunked: bool) -> None:
    """A body beyond the limit is a 413 that names it, however it was sent, and the next request is answered."""
    pieces = [b"x" * min(100_000, size - start) for start in range(0, size, 100_000)]
    answer = requests.post(url, data=iter(pieces) if is_chunked else b"".join(pieces), timeout=60)
    assert answer.status_code == 413, answer.text
    assert answer.json() == {
        "code": 413,
        "type": "RequestTooLarge",
        "message": "The body has more than 6553500 bytes, the most that a request may have (max_request_size in "
        "config.properties).",
    }
    assert requests.put(url, data=(SAMPLES / "sample.json").read_bytes(), timeout=10).text == "SETOSA"


def test_announced_body(url: str) -> None:
    """A body that is announced, and not sent before it is asked for, is refused at once."""
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 100000000\r\n".encode()
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
        connection.sendall(head + b"Expect: 100-continue\r\n\r\n")
        with HTTPResponse(connection) as answer:
            answer.begin()
            assert (answer.status, json.load(answer)["type"]) == (413, "RequestTooLarge")


def test_large_bodies_at_once(url: str) -> None:
    """As many of the largest requests as end a Java with a small heap are answered, every one."""
    columns = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
    head, row = f'{{"dataframe_split": {{"columns": {json.dumps(columns)}, "data": [', "[5.1,3.5,1.4,0.2]"
    rows = 6_500_000 // (len(row) + 1)
    body = (head + ",".join([row] * rows) + "]}}").encode()

    def ask(_: int) -> tuple[int, int]:
        answer = requests.post(url, data=body, headers={"Content-Type": "application/json"}, timeout=180)
        return answer.status_code, answer.text.count('"SETOSA"')

    with ThreadPoolExecutor(32) as pool:
        assert set(pool.map(ask, range(32))) == {(200, rows)}


@pytest.mark.compose
def test_slow_bodies_keep_no_place(url: str) -> None:
    """Clients that trickle take all places that a replica has for large requests, and lose them to the next."""
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 3000000\r\n\r\n".encode()
    ended = threading.Event()

    def trickle(connection: socket.socket) -> int:
        connection.sendall(head + b" " * 60_000)
        while not select.select([connection], [], [], 0.1)[0] and not ended.is_set():
            connection.sendall(b" ")
        with HTTPResponse(connection) as answer:
            answer.begin()
            return answer.status

    with contextlib.ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        connections = [socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) for _ in range(4)]
        slow = [pool.submit(trickle, stack.enter_context(connection)) for connection in connections]
        time.sleep(1)
        body = (SAMPLES / "sample.json").read_bytes()
        try:
            answer = requests.put(url, data=body + b" " * 100_000, timeout=90)
        finally:
            ended.set()
        assert (answer.status_code, answer.text) == (200, "SETOSA")
        assert [it.result() for it in slow] == [408] * 4


def test_health(stack: Stack) -> None:
    """TorchServe says that it's well, and MLflow too."""
    assert requests.get(f"{stack.predictions_url}/ping", timeout=10).json()["status"] == "Healthy"
    assert requests.get(f"{stack.mlflow_url}/health", timeout=10).text == "OK"


@pytest.mark.parametrize("path", ["models", f"models/{MODEL}", "models?url=evil.mar", "workflows?url=evil.war"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_management_is_elsewhere(stack: Stack, path: str, method: str) -> None:
    """Nothing of the management API is on the prediction port."""
    answer = requests.request(method, f"{stack.predictions_url}/{path}", timeout=10)
    assert answer.status_code in {404, 405}, f"{answer.status_code} {answer.text}"


def test_mlflow_ui_for_people(stack: Stack) -> None:
    """MLflow answers under the address that the README gives, and refuses a strange Host header."""
    port = urlsplit(stack.mlflow_url).port
    page = until("MLflow answers", lambda: requests.get(f"http://localhost:{port}/", timeout=10), timeout_s=10)
    assert page.status_code == 200
    assert "<title>MLflow</title>" in page.text
    strange = requests.get(f"{stack.mlflow_url}/api/2.0/mlflow/x", headers={"Host": "evil.example"}, timeout=10)
    assert strange.status_code == 403
