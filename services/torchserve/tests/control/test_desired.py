"""`signet_torchserve.control.desired`, with a real server that refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from signet_torchserve.archive.store import Store
from signet_torchserve.control.controller_status import Status
from signet_torchserve.control.desired import MAX_BACKOFF_S, MAX_DENIED_S, Follower
from signet_torchserve.control.registry import Registry

PAGE = "<html>" + "Sign in. " * 1000


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, str], str]]:
    """Start a server that has one answer to everything; the address of one that stands for MLflow."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    servers = []

    def start(status: int, body: str) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("answer", "said", "longest_s"),
    [
        ((401, "You are not authenticated."), "MLflow does not accept the account (401).", MAX_DENIED_S),
        (
            (401, '{"error_code": "UNAUTHENTICATED", "message": "no"}'),
            "MLflow does not accept the account",
            MAX_DENIED_S,
        ),
        ((403, "Permission denied"), "MLflow does not let the account do this (403)", MAX_DENIED_S),
        ((404, PAGE), "failed with error code 404 != 200", MAX_BACKOFF_S),
        ((200, PAGE), "the response body was not in a valid JSON format", MAX_BACKOFF_S),
        ((503, "starting"), "503", MAX_BACKOFF_S),
    ],
)
def test_a_server_that_refuses_is_told_in_a_line_and_asked_less_and_less(
    answer: tuple[int, str],
    said: str,
    longest_s: float,
    answering: Callable[[int, str], str],
    tmp_path: Path,
) -> None:
    """What is wrong is said with the server's address; a wrong account is tried once a minute in the end."""
    told, store = Status(), Store(tmp_path)
    address = answering(*answer)
    follower = Follower(Registry(address, "champion"), store, told)
    for _ in range(7):
        assert not follower.look({}).is_known
    assert told.registry.startswith(f"{address}: ")
    assert said in told.registry
    assert len(told.registry) < 1000
    assert longest_s / 2 <= follower.backoff_s(2) <= longest_s
    store.close()
