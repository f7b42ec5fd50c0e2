from __future__ import annotations

import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import requests
from signet_torchserve.socket_adapter import SocketAdapter


class Echo(BaseHTTPRequestHandler):
    """Answers with the path that was asked for."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.path.encode())

    def address_string(self) -> str:
        return "a socket"


@pytest.fixture
def session() -> requests.Session:
    return requests.Session()


def test_a_socket_is_reached(tmp_path: Path, session: requests.Session) -> None:
    """Every URL of the host that it is mounted for goes to the socket."""
    with socketserver.ThreadingUnixStreamServer(str(tmp_path / "it.sock"), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        session.mount("http://here", SocketAdapter(tmp_path / "it.sock"))
        assert session.get("http://here/a/b", params={"c": 1}, timeout=5).text == "/a/b?c=1"
        server.shutdown()


def test_nobody_at_the_socket_is_a_connection_error(tmp_path: Path, session: requests.Session) -> None:
    """As with a port: what calls TorchServe has one error to handle."""
    session.mount("http://here", SocketAdapter(tmp_path / "missing.sock"))
    with pytest.raises(requests.ConnectionError):
        session.get("http://here/", timeout=5)
