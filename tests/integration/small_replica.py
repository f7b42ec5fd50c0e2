"""A replica of TorchServe as the gateway sees one, but small: seventeen of the real ones are too many for a test."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STATUSES = {"poison": 500, "full": 429, "slow": 504, "unknown": 404}
seen = Counter[str]()
lock = threading.Lock()


class Predictions(BaseHTTPRequestHandler):
    """`POST /predictions/NAME`: what NAME says."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        name = self.path.rpartition("/")[2]
        self.rfile.read(int(self.headers["Content-Length"]))
        with lock:
            seen[name] += 1
        if name == "end":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        is_lacking = name == "new" and os.environ.get("LACKS_NEW") == "1"
        self._answer(503 if is_lacking else STATUSES.get(name, 200), socket.gethostname())

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Health(Predictions):
    """`GET /ready`, and `GET /seen`: how often each name was asked for."""

    def do_GET(self) -> None:
        self._answer(200, json.dumps({"ready": True} if self.path == "/ready" else seen))


threading.Thread(target=ThreadingHTTPServer(("", 8083), Health).serve_forever).start()
ThreadingHTTPServer(("", 8080), Predictions).serve_forever()
