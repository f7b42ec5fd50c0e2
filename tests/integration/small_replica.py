"""A replica of TorchServe as the gateway sees one, but small: seventeen of the real ones are too many for a test."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STATUSES = {"poison": 500, "fault": 500, "full": 429, "slow": 504, "unknown": 404}
FIRST_DEATH = 502  # of the first worker that dies with a request
DOWN_S = 3
seen = Counter[str]()
dead = set[str]()
busy = set[int]()
lock = threading.Lock()
is_down = threading.Event()


class Predictions(BaseHTTPRequestHandler):
    """`POST /predictions/NAME`: what NAME says."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        name = self.path.rpartition("/")[2]
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.close_connection |= "Transfer-Encoding" in self.headers  # whose body is not read
        if is_down.is_set():
            self._end()
            return
        number = self.headers["X-Signet-Request"]
        with lock:
            seen[name] += 1
            is_first_death = name == "poison" and number not in dead
            dead.add(number)
        if name == "fall":
            fall()
        if name in {"end", "fall"}:
            self._end()
            return
        if name == "busy":
            self._be_busy()
        if name == "headers":
            self._answer(200, json.dumps(self.headers.items()))
            return
        is_lacking = name == "new" and os.environ.get("LACKS_NEW") == "1"
        self._answer(
            FIRST_DEATH if is_first_death else 503 if is_lacking else STATUSES.get(name, 200), socket.gethostname()
        )

    def _be_busy(self) -> None:
        """Show how many requests were answered at once, at most."""
        with lock:
            busy.add(id(self))
            seen["busiest"] = max(seen["busiest"], len(busy))
        time.sleep(0.5)
        busy.remove(id(self))

    def _end(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if rows := self.headers["Small-Rows"]:
            self.send_header("X-Signet-Rows", rows)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Health(Predictions):
    """`GET /ready`; `GET /seen`: how often each name was asked for; and `GET /forget` that."""

    def do_GET(self) -> None:
        if is_down.is_set():
            self._end()
            return
        if self.path == "/forget":
            seen.clear()
        self._answer(200, json.dumps({"ready": True} if self.path == "/ready" else seen))


def listen() -> None:
    """Serve until `fall`."""
    is_down.clear()
    servers[:] = [ThreadingHTTPServer(("", 8080), Predictions), ThreadingHTTPServer(("", 8083), Health)]
    for server in servers:
        threading.Thread(target=server.serve_forever).start()


def fall() -> None:
    """Be gone for some seconds, as a replica that dies and is started again."""
    is_down.set()
    for server in servers:
        server.shutdown()
        server.server_close()
    threading.Timer(DOWN_S, listen).start()


servers: list[ThreadingHTTPServer] = []
listen()
threading.Event().wait()  # for good
