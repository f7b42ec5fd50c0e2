"""A server whose searches for registered models have an ETag, as our MLflow server's have, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """Answers searches with an ETag, if it has one, and keeps who has asked, and how."""

    etag: str | None = '"1"'
    changed: str | None = None
    """Names of the models that have changed, as JSON."""
    names: list[str | None]
    preferences: list[str | None]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.names, self.preferences = [], []


class Search(BaseHTTPRequestHandler):
    """As MLflow's address of that name."""

    server: Server

    def do_GET(self) -> None:
        etag = self.server.etag
        self.server.names.append(self.headers["X-Signet-Process"])
        self.server.preferences.append(self.headers["Prefer"])
        self.send_response(304 if etag and self.headers["If-None-Match"] == etag else 200)
        if etag:
            self.send_header("ETag", etag)
        if self.server.changed is not None:
            self.send_header("X-Signet-Changed", self.server.changed)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def started() -> Iterator[Server]:
    """Such a server, which answers until the test has ended."""
    with Server(("127.0.0.1", 0), Search) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()
