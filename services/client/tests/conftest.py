"""A real HTTP server on loopback whose answers a test chooses."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from testing.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Asked:
    """One request as it reached the server."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """One answer; `raw` is written to the connection instead, then it's closed; `hang` holds the answer back."""

    status: int = 200
    body: bytes = b"SETOSA"
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "text/plain", "X-Model-Version": "1"})
    raw: bytes | None = None
    hang: bool = False


class LocalServer(ThreadingHTTPServer):
    """Answers every request with `reply`, or with what `reply` returns for it."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Asked] = []
        self.reply: Reply | Callable[[Asked], Reply] = Reply()
        self.let_go = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: LocalServer

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = Asked(self.command, self.path, dict(self.headers.items()), body)
        self.server.asked.append(asked)
        reply = self.server.reply if isinstance(self.server.reply, Reply) else self.server.reply(asked)
        if reply.hang:
            self.server.let_go.wait(10)
            return
        if reply.raw is not None:
            self.wfile.write(reply.raw)
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    do_POST = do_PUT = _answer  # noqa: N815 -- http.server's own names

    def log_message(self, *_: Any) -> None:
        """Keep the test's output to itself."""


@pytest.fixture
def local_server() -> Iterator[LocalServer]:
    """A server that answers every request with SETOSA until a test sets `reply`."""
    server = LocalServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.let_go.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def reply() -> type[Reply]:
    """The class of answers that `local_server.reply` takes."""
    return Reply


@pytest.fixture
def unused_url() -> str:
    """An address where nothing listens."""
    return f"http://127.0.0.1:{free_port()}"
