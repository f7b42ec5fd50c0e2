from __future__ import annotations

import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import requests
from signet_torchserve.server.socket_adapter import SocketAdapter


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


@pytest.mark.parametrize("kind", ["socket", "port"])
def test_every_url_goes_to_one_address(kind: str, tmp_path: Path, session: requests.Session) -> None:
    """Of the host that it is mounted for, whatever that one is: to a Unix socket, or a port of this machine."""
    with _server(tmp_path / "it.sock" if kind == "socket" else None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = tmp_path / "it.sock" if kind == "socket" else int(server.server_address[1])
        session.mount("http://here", SocketAdapter(address))
        assert session.get("http://here/a/b", params={"c": 1}, timeout=5).text == "/a/b?c=1"
        server.shutdown()


def _server(path: Path | None) -> socketserver.BaseServer:
    if path is None:
        return socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
    return socketserver.ThreadingUnixStreamServer(str(path), Echo)


def test_nobody_at_the_socket_is_a_connection_error(tmp_path: Path, session: requests.Session) -> None:
    """The error is that of a port: what calls TorchServe has one error to handle."""
    session.mount("http://here", SocketAdapter(tmp_path / "missing.sock"))
    with pytest.raises(requests.ConnectionError):
        session.get("http://here/", timeout=5)
