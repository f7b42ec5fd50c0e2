from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signet_client.errors import ServerTooSlow, ServerUnreachable
from signet_client.server import Answer, PredictionServer

if TYPE_CHECKING:
    from conftest import LocalServer, Reply


def test_bytes_arrive_as_they_are(local_server: LocalServer) -> None:
    """Body, method and headers reach the server unchanged, and the name is one quoted path segment."""
    answer = PredictionServer(local_server.url, 5).ask("a/b ü", b"\x00\xff{", {"Content-Type": "text/csv"}, "PUT")
    (asked,) = local_server.asked
    assert (asked.method, asked.path, asked.body) == ("PUT", "/predictions/a%2Fb%20%C3%BC", b"\x00\xff{")
    assert asked.headers["Content-Type"] == "text/csv"
    assert (answer.status, answer.text, answer.headers["X-Model-Version"]) == (200, "SETOSA", "1")
    assert answer.elapsed_ms > 0


def test_no_proxy(local_server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment is for the internet, not for the prediction server."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert PredictionServer(local_server.url, 5).ask("iris", b"{}").status == 200


def test_user_and_password_are_sent(local_server: LocalServer) -> None:
    """A server behind a proxy that asks for them gets them; they are no part of an address that is shown."""
    server = PredictionServer(local_server.url, 5, ("me", "secret"))
    server.ask("iris", b"{}")
    assert local_server.asked[0].headers["Authorization"] == "Basic bWU6c2VjcmV0"
    assert "secret" not in repr(server)


def test_redirect_is_not_followed(local_server: LocalServer, reply: type[Reply]) -> None:
    """The prediction server never redirects; what does is something else, and its answer is shown."""
    local_server.reply = reply(302, b"", {"Location": "/login"})
    assert PredictionServer(local_server.url, 5).ask("iris", b"{}").status == 302


def test_nothing_listens(unused_url: str) -> None:
    """A closed port is reported in the operating system's words."""
    with pytest.raises(ServerUnreachable, match=f"No answer from {unused_url}/predictions/iris: Connection refused"):
        PredictionServer(unused_url, 5).ask("iris", b"{}")


@pytest.mark.parametrize(
    "raw", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nSETOSA", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"]
)
def test_broken_off(local_server: LocalServer, reply: type[Reply], raw: bytes) -> None:
    """An answer that ends too early, or isn't HTTP, is no answer."""
    local_server.reply = reply(raw=raw)
    with pytest.raises(ServerUnreachable):
        PredictionServer(local_server.url, 5).ask("iris", b"{}")


def test_hanging(local_server: LocalServer, reply: type[Reply]) -> None:
    """A server that takes the request and never answers costs no more than the timeout."""
    local_server.reply = reply(hang=True)
    with pytest.raises(ServerTooSlow, match=r"within 0.2 s \(SIGNET_TIMEOUT_S\)"):
        PredictionServer(local_server.url, 0.2).ask("iris", b"{}")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"message": "no"}', "no"),
        (b'{"message": 1}', None),
        (b'["message"]', None),
        (b"<html>", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
    ],
)
def test_message(body: bytes, message: str | None) -> None:
    """Only a JSON object's `message` that is a text counts as one; nothing else raises."""
    assert Answer(400, {}, body, 1.0).message == message


def test_summary_is_one_short_line() -> None:
    """A page of HTML becomes one line with status and kind."""
    answer = Answer(502, {"Content-Type": "text/html; charset=utf-8"}, b"<html>\n" + b"x" * 500, 1.0)
    assert answer.summary() == f"status 502, text/html: <html> {'x' * 113}"
