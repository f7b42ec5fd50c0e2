"""Attacks on the public gateway: none gets past it, and none takes it from others."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

import http2
import pytest

from testing.polling import until

if TYPE_CHECKING:
    import ssl

    from door import Door

pytestmark = pytest.mark.compose

_WITH_BODY = "Host: x\r\nConnection: close\r\nContent-Length: 2\r\n{}\r\n{{}}"


def _post(target: str, *headers: str, version: str = "HTTP/1.1") -> str:
    return f"POST {target} {version}\r\n" + _WITH_BODY.format("".join(f"{header}\r\n" for header in headers))


def _answers(raw: bytes) -> list[tuple[int, str]]:
    """Status and type of each answer; the replica's own answers have no type."""
    found = []
    for answer in raw.split(b"HTTP/1.1 ")[1:]:
        if answer.startswith(b"100"):
            continue
        head, _, body = answer.partition(b"\r\n\r\n")
        document: Any = None
        with contextlib.suppress(ValueError):
            document = json.loads(body)
        assert document is not None or head.startswith(b"200"), f"each rejection is JSON: {answer!r}"
        found.append((int(head[:3]), document["type"] if isinstance(document, dict) else ""))
    return found


@pytest.fixture(scope="module")
def expired(door: Door) -> str:
    """A token that has expired."""
    make = "from signet_client.door import folder, tokens; import sys"
    create = "print(tokens.Tokens(folder.Folder('/run/door')).create('expired', '*', 0, 0, 1))"
    done = door.compose("run", "--rm", "-T", "--entrypoint=python", "signet", "-c", f"{make}\n{create}")
    assert done.returncode == 0, done.stderr
    token = done.stdout.strip()
    until("it has expired", lambda: door.ask("ok", token).json()["type"] == "TokenExpired", timeout_s=10)
    return token


def test_no_token_and_wrong_ones(door: Door, expired: str) -> None:
    """Nobody gets in with a token that is missing, wrong, cut off, expired, or given by another scheme."""
    token = door.master
    before = door.seen("ok")
    for header, kind in (
        ("", "TokenMissing"),
        ("Authorization: Bearer", "TokenMissing"),
        ("Authorization: Bearer x", "TokenUnknown"),
        (f"Authorization: Bearer {token[:-1]}", "TokenUnknown"),
        (f"Authorization: Bearer {token}x", "TokenUnknown"),
        (f"Authorization: Bearer {token.lower()}", "TokenUnknown"),
        (f"Authorization: Bearer {expired}", "TokenExpired"),
        (f"Authorization: Basic {token}", "TokenMissing"),
        (f"Authorization: {token}", "TokenMissing"),
        (f"X-Authorization: Bearer {token}", "TokenMissing"),
        (f"Proxy-Authorization: Bearer {token}", "TokenMissing"),
        (f"Cookie: Authorization=Bearer {token}", "TokenMissing"),
        (f"Authorization: Bearer {token}, Bearer x", "TokenMissing"),
        (f"Authorization: Bearer {token} x", "TokenMissing"),
    ):
        headers = [header] if header else []
        assert _answers(door.sent(_post("/predictions/ok", *headers))) == [(401, kind)], header
    assert _answers(door.sent(_post(f"/predictions/ok?token={token}"))) == [(401, "TokenMissing")]
    assert door.seen("ok") == before


def test_two_authorization_headers(door: Door) -> None:
    """Whichever of them is right, nobody has to guess which one counts."""
    right, wrong = f"Authorization: Bearer {door.master}", "authorization: Bearer x"
    for headers in ((right, wrong), (wrong, right), (right, right)):
        assert _answers(door.sent(_post("/predictions/ok", *headers))) == [(401, "TokenMissing")]


_PATHS = [
    "//predictions/ok", "/predictions//ok", "/predictions/ok/", "/predictions/ok//1", "/./predictions/ok",
    "/predictions/../models", "/predictions/ok/../../models", "/predictions/%2e%2e/models", "/predictions/..%2fmodels",
    "/predictions%2fok", "/predictions/o%6b", "/predictions/ok%00", "/predictions/ok;x=1", "/predictions/ok\\..\\x",
    "/predictions/..", "/predictions/a..b", "/predictions/", "/predictions", "/Predictions/ok", "/predictions/ok/x",
    "/", "/ping", "/metrics", "/ready", "/live", "/seen", "/models", "/models/ok", "/models?url=http://x", "/workflows",
    "/wfpredict/ok", "/explanations/ok", "/invocations", "/api-description", "/v2/models/ok/infer", "/stats",
    "/api/2.0/mlflow/registered-models/search", "/haproxy?stats",
]  # fmt: skip


@pytest.mark.parametrize("path", _PATHS)
def test_no_other_path_leads_in(door: Door, path: str) -> None:
    """Management, metrics and what is spelt another way are not there, not even for a token that opens everything."""
    (answer,) = _answers(door.sent(_post(path, f"Authorization: Bearer {door.master}")))
    assert answer == (404, "NoSuchPath")


def test_no_other_target_leads_in(door: Door) -> None:
    """Another host in the target, or a target that is no path, opens nothing more; nor does a method."""
    authorization = f"Authorization: Bearer {door.master}"
    for target in ("http://127.0.0.1:8081/models", "http://x//predictions/ok", "*", "x:443", "predictions/ok"):
        # HAProxy may close the connection on what is no request to it, and say nothing.
        assert {status for status, _ in _answers(door.sent(_post(target, authorization)))} <= {400, 404}, target
    for method in ("GET", "DELETE", "OPTIONS", "PATCH", "TRACE", "HEAD", "CONNECT", "post", "FOO"):
        raw = door.sent(_post("/predictions/ok", authorization).replace("POST", method, 1))
        assert raw[9:12] in {b"", b"400", b"405"}, method


def test_no_request_hides_in_another(door: Door) -> None:
    """However a body's length is given, what stands in it is not taken for a request with the first one's token."""
    hidden = "POST /predictions/hidden HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    chunked = "0\r\n\r\n" + hidden
    for headers, body in (
        (("Transfer-Encoding: chunked", f"Content-Length: {len(chunked)}"), chunked),
        ((f"Content-Length: {len(chunked)}", "Transfer-Encoding: chunked"), chunked),
        (("Content-Length: 0", f"Content-Length: {len(hidden)}"), hidden),
        (("Content-Length: +0",), hidden),
        (("Content-Length: 0, 5",), hidden),
        (("Transfer-Encoding: xchunked", "Content-Length: 5"), chunked),
        (("Transfer-Encoding:\x0bchunked", "Content-Length: 5"), chunked),
        (("Transfer-Encoding : chunked", "Content-Length: 5"), chunked),
        (("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), chunked),
        (("X: y\nTransfer-Encoding: chunked", "Content-Length: 5"), chunked),
        (("Expect: 100-continue", "Content-Length: 0"), hidden),
        (("Connection: Authorization, X-Signet-Request", "Content-Length: 0"), hidden),
        (
            ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk", "Content-Length: 0"),
            hidden,
        ),
    ):
        lines = ["POST /predictions/ok HTTP/1.1", "Host: x", f"Authorization: Bearer {door.master}", *headers, "", body]
        answers = _answers(door.sent("\r\n".join(lines)))
        assert (200, "") not in answers[1:], (headers, answers)
        assert door.seen("hidden") == 0, headers


def test_a_forged_header_reaches_no_worker(door: Door) -> None:
    """What a client claims of others, or of itself as only the gateway may, is taken away."""
    forged = {
        "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "x", "X-Forwarded-Proto": "http", "X-Real-IP": "127.0.0.1",
        "Forwarded": "for=127.0.0.1", "X-Signet-Request": "forged", "X-Signet-Anything": "forged", "Cookie": "forged",
    }  # fmt: skip
    got = {name.lower(): value for name, value in json.loads(door.ask("headers", door.master, forged).text)}
    assert not {name.lower() for name in forged} - {"x-signet-request"} & got.keys()
    assert got["x-signet-request"] != "forged"
    assert "authorization" not in got


_H2 = [(":method", "POST"), (":scheme", "https"), (":authority", "x"), (":path", "/predictions/headers")]


@pytest.mark.parametrize(
    "extra",
    [
        ("connection", "keep-alive"), ("transfer-encoding", "chunked"), ("upgrade", "h2c"), ("keep-alive", "1"),
        ("Upper", "x"), (":path", "/predictions/ok"), (":unknown", "x"), ("bad name", "x"), ("x", "a\r\nb: c"),
        ("x", "a\0b"), ("te", "gzip"), ("content-length", "5"), ("content-length", "x"),
    ],
    ids=lambda header: ": ".join(header).encode("unicode_escape").decode(),
)  # fmt: skip
def test_a_header_that_http2_forbids(door: Door, extra: tuple[str, str]) -> None:
    """The stream ends or the request is refused, and no replica hears of it."""
    before = door.seen("headers")
    with door.socket("h2") as connection:
        answered = http2.ask(connection, [*_H2, ("authorization", f"Bearer {door.master}"), extra])
    assert answered.is_reset or b'"code": 4' in answered.body
    assert door.seen("headers") == before


def test_http2_asks_for_a_token_on_each_stream(door: Door) -> None:
    """The same as over HTTP/1.1: without a token, with one for another path, and with two."""
    token = ("authorization", f"Bearer {door.master}")
    for headers, kind in (
        (_H2, b"TokenMissing"),
        ([*_H2, token, token], b"TokenMissing"),
        ([*_H2[:3], (":path", "/models"), token], b"NoSuchPath"),
        ([*_H2[:3], (":path", "//predictions/ok"), token], b"NoSuchPath"),
    ):
        with door.socket("h2") as connection:
            assert kind in http2.ask(connection, headers).body


@pytest.fixture(scope="module")
def narrow(door: Door) -> str:
    """A token that opens `fare` alone."""
    token = door.token("narrow", "--deployment", "fare")
    until("it is in force", lambda: door.ask("fare", token).status_code == 200, timeout_s=5)
    return token


def _turns(wide: str, narrow: str) -> list[tuple[list[str], str, str]]:
    """Requests of one connection: their Authorization headers, the deployment, and the type of the answer."""
    wide, narrow = f"Bearer {wide}", f"Bearer {narrow}"
    return [
        ([wide], "ok", ""),
        ([], "ok", "TokenMissing"),
        ([wide], "ok", ""),
        (["Bearer x"], "ok", "TokenUnknown"),
        (["Bearer x"], "ok", "TokenUnknown"),
        ([wide[:-1]], "ok", "TokenUnknown"),
        ([wide], "ok", ""),
        ([wide, wide], "ok", "TokenMissing"),
        ([narrow], "ok", "DeploymentNotOpen"),
        ([narrow], "fare", ""),
        ([wide.replace("Bearer", "Basic")], "ok", "TokenMissing"),
        ([narrow], "ok", "DeploymentNotOpen"),
        ([narrow, wide], "ok", "TokenMissing"),
        ([wide], "ok", ""),
        ([narrow], "ok", "DeploymentNotOpen"),
    ]


def test_no_request_has_another_ones_token(door: Door, narrow: str) -> None:
    """What opened for one request of a connection opens nothing for the next one."""
    turns = _turns(door.master, narrow)
    requests = [
        _post(f"/predictions/{name}", *(f"Authorization: {header}" for header in headers)).replace(
            "Connection: close\r\n", ""
        )
        for headers, name, _ in turns
    ]
    assert [kind for _, kind in _answers(door.sent("".join(requests)))] == [kind for _, _, kind in turns]


def test_no_stream_of_http2_has_another_ones_token(door: Door, narrow: str) -> None:
    """The same over HTTP/2."""
    with door.socket("h2") as connection:
        for number, (headers, name, kind) in enumerate(_turns(door.master, narrow)):
            asked = [*_H2[:3], (":path", f"/predictions/{name}"), *(("authorization", header) for header in headers)]
            answered = http2.ask(connection, asked, stream=2 * number + 1)
            assert not answered.is_reset
            assert (f'"type": "{kind}"'.encode() in answered.body) is bool(kind), (number, answered)


@pytest.mark.parametrize("part", ["handshake", "headers", "body"])
def test_500_slow_clients_take_nothing_from_others(door: Door, part: str) -> None:
    """While 500 connections send a byte now and then, another client's requests are answered at once."""
    headers = f"POST /predictions/ok HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {door.master}\r\n"
    begun = {"headers": headers, "body": f"{headers}Content-Length: 9\r\n\r\n"}
    with contextlib.ExitStack() as stack:
        slow: list[ssl.SSLSocket | Any] = []
        for _ in range(500):
            connection = stack.enter_context(door.plain_socket() if part == "handshake" else door.socket())
            connection.sendall(b"\x16\x03\x01" if part == "handshake" else begun[part].encode())
            slow.append(connection)
        for _ in range(5):
            for connection in slow[::10]:
                with contextlib.suppress(OSError):
                    connection.sendall(b"x")
            began = time.monotonic()
            assert door.ask("ok", door.master).status_code == 200
            assert time.monotonic() - began < 3


def test_one_address_has_100_connections_to_mlflow(door: Door) -> None:
    """The next one is closed before its handshake; another address and the predictions' entry are served meanwhile."""
    with contextlib.ExitStack() as stack:

        def opened() -> ssl.SSLSocket | None:
            with contextlib.suppress(OSError):
                return stack.enter_context(door.mlflow_socket())
            return None

        held = [connection for _ in range(100) if (connection := opened())]
        assert len(held) == 100
        assert [opened() for _ in range(3)] == [None, None, None]
        assert door.mlflow_kind_from_elsewhere() == "AccountMissing"
        assert door.ask("ok", door.master).status_code == 200
        held[0].close()
        until("one that was closed makes room", opened, timeout_s=5)


def test_a_flood_without_a_token_takes_nothing_from_others(door: Door) -> None:
    """Rejections are cheap: a client with a token is answered meanwhile, over a connection of its own."""
    with door.session() as stranger, door.session(door.master) as client:
        for _ in range(50):
            for _ in range(10):
                assert stranger.post(f"{door.url}/predictions/ok", data=b"{}", timeout=10).status_code == 401
            assert client.post(f"{door.url}/predictions/ok", data=b"{}", timeout=10).status_code == 200
