"""A replica of TorchServe as the gateway sees one, but small: seventeen of the real ones are too many for a test."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STATUSES = {"poison": 500, "fault": 500, "full": 429, "slow": 504, "unknown": 404}
FIRST_DEATH = 502  # of the first worker that dies with a request
DOWN_S = 3
LINGER_S = 1
seen = Counter[str]()
dead = set[str]()
busy = set[int]()
lock = threading.Lock()


class Predictions(BaseHTTPRequestHandler):
    """`POST /predictions/NAME`: what NAME says."""

    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        connections.add(self.connection)

    def finish(self) -> None:
        connections.discard(self.connection)
        super().finish()

    def do_POST(self) -> None:
        name = self.path.rpartition("/")[2]
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.close_connection |= "Transfer-Encoding" in self.headers  # whose body is not read
        number = self.headers["X-Signet-Request"]
        with lock:
            seen[name] += 1
            is_first_death = name == "poison" and number not in dead
            dead.add(number)
        if name == "fall":
            fall(0)
            return
        if name == "linger":
            self._answer(200, "so long")
            fall(LINGER_S)
            return
        if name == "end":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
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
        if self.path == "/forget":
            seen.clear()
        self._answer(200, json.dumps({"ready": True} if self.path == "/ready" else seen))


def listen() -> None:
    """Serve until `fall`."""
    for port, handler in ((8080, Predictions), (8083, Health)):
        servers.append(ThreadingHTTPServer(("", port), handler))
        threading.Thread(target=servers[-1].serve_forever).start()


def fall(linger_s: float) -> None:
    """Be gone for some seconds, as a replica that dies and is started again; say for `linger_s` that it is ready."""
    _close()
    threading.Timer(linger_s, _close).start()
    threading.Timer(DOWN_S, listen).start()


def _close() -> None:
    """End the first server that listens, and all connections."""
    server = servers.pop(0)
    server.shutdown()
    server.server_close()
    for connection in [*connections]:
        with suppress(OSError):  # its client was quicker
            connection.shutdown(socket.SHUT_RDWR)


servers: list[ThreadingHTTPServer] = []
connections = set[socket.socket]()
listen()
threading.Event().wait()  # for good
