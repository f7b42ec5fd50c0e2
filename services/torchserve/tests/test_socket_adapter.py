from __future__ import annotations

import os
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


@pytest.mark.parametrize("length", [20, 250])
def test_a_socket_of_any_path_is_reached(length: int, tmp_path: Path, session: requests.Session) -> None:
    """A path may have more bytes than a socket's address can hold."""
    folder = tmp_path / ("ä" * (length // 2))
    folder.mkdir()
    opened = os.open(folder, os.O_PATH)
    with socketserver.ThreadingUnixStreamServer(f"/proc/self/fd/{opened}/it.sock", Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        session.mount("http://here", SocketAdapter(folder / "it.sock"))
        assert session.get("http://here/a/b", params={"c": 1}, timeout=5).text == "/a/b?c=1"
        server.shutdown()
    os.close(opened)


def test_nobody_at_the_socket_is_a_connection_error(tmp_path: Path, session: requests.Session) -> None:
    """As with a port: what calls TorchServe has one error to handle."""
    session.mount("http://here", SocketAdapter(tmp_path / "missing.sock"))
    with pytest.raises(requests.ConnectionError):
        session.get("http://here/", timeout=5)
