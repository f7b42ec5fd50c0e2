"""The load against a server of this process."""

import itertools
import json
import statistics
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from testing.polling import until
from testing.steady import CONNECTIONS, REQUESTS_PER_S, Load, Question, p99_ms


class Handler(BaseHTTPRequestHandler):
    """Answers with the body that it got, as version 7; some bodies break it."""

    protocol_version = "HTTP/1.1"
    connections: set[object]
    answers = threading.Event()

    def do_POST(self) -> None:
        self.answers.wait()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.connections.add(self.client_address)
        if body == b'"end"':
            self.close_connection = True
            return
        self.send_response(500 if body == b'"fail"' else 200)
        self.send_header("X-Model-Version", "7")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def url() -> Iterator[str]:
    Handler.connections = set()
    Handler.answers.set()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/predictions/x"
        server.shutdown()


def _ask(url: str, *questions: Question, count: int) -> Load:
    with Load(url, questions) as load:
        until(f"{count} exchanges are done", lambda: len(load.exchanges) >= count, interval_s=0.01)
    return load


def test_pace_and_answers(url: str) -> None:
    """Every question is asked in its turn, at the load's pace, over few connections, and each answer is checked."""
    right = Question(b'"7"', 200, lambda version: version)
    wrong = Question(b'"8"', 200, lambda version: version)
    began = time.monotonic()
    load = _ask(url, right, wrong, count=100)
    took_s = time.monotonic() - began
    are_right = [json.loads(it.text) == "7" for it in load.exchanges]
    assert [it.is_right for it in load.exchanges] == are_right
    assert 0.4 < sum(are_right) / len(are_right) < 0.6
    assert not any(it.is_lost for it in load.exchanges)
    assert len(Handler.connections) == CONNECTIONS, "they are kept alive"
    assert took_s > 80 / REQUESTS_PER_S
    assert 0 < p99_ms(load.exchanges) < took_s * 1e3
    assert load.since(load.exchanges[-3].done) == load.exchanges[-2:]


@pytest.mark.parametrize(("body", "status"), [(b'"fail"', 500), (b'"end"', None)])
def test_lost(url: str, body: bytes, status: int | None) -> None:
    """A 5xx and a connection that ends are losses that the client is told of, and it goes on asking."""
    load = _ask(url, Question(body, 200, lambda _: "?"), count=2 * CONNECTIONS)
    assert {it.status for it in load.exchanges} == {status}
    assert all(it.is_lost and not it.is_right for it in load.exchanges)


def test_pace_after_a_pause(url: str) -> None:
    """Connections that have all waited for one server ask one after the other again, not all at once from then on."""
    with Load(url, [Question(b'"7"', 200, lambda version: version)]) as load:
        until("all connections ask", lambda: len(Handler.connections) == CONNECTIONS)
        Handler.answers.clear()
        time.sleep(0.3)
        Handler.answers.set()
        goes_on = time.monotonic()
        until("all have asked again", lambda: len(load.since(goes_on)) > 4 * CONNECTIONS)
    sent = sorted(it.sent for it in load.exchanges if it.sent > goes_on)
    assert statistics.median(later - earlier for earlier, later in itertools.pairwise(sent)) > 0.5 / REQUESTS_PER_S
