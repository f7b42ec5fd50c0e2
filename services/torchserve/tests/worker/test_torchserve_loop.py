"""Batches as TorchServe's own loop hands them to the handler, and what it sends in response."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

import models
import numpy as np
import pytest
from models import Formula, Server
from signet_torchserve import busy_flag
from signet_torchserve.busy_flag import is_busy
from signet_torchserve.worker.undecided_requests import ARE_KEPT
from signet_torchserve.worker.worker_loop import Request
from ts.protocol import otf_message_handler
from ts.service import Service

JSON = b"application/json"
GOOD = b'{"inputs": [[1.5, 2.5], [3.5, 4.5]]}'

# What a request has: its form's fields or its body with their media types, and whether it asks for an explanation.
REQUESTS: dict[str, tuple[list[tuple[bytes, bytes, bytes]], bool]] = {
    "a prediction": ([(b"body", JSON, GOOD)], False),
    "a form": ([(b"data", b"", b"[[1.5, 2.5]]")], False),
    "CSV": ([(b"body", b"text/csv", b"a,b\n1.5,2.5\n")], False),
    "a wrong shape": ([(b"body", JSON, b'{"inputs": [[1.5]]}')], False),
    "a wrong type": ([(b"body", JSON, b'{"inputs": [["a", 2.5]]}')], False),
    "no JSON": ([(b"body", JSON, b"{")], False),
    "an explanation": ([(b"body", JSON, GOOD)], True),
    "a field and a body": ([(b"body", JSON, GOOD), (b"data", b"", b"[[1.5, 2.5]]")], False),
    "nothing": ([], False),
}


def _of_torchserve(_service: Service, _connection: socket.socket) -> None:
    """Stands where TorchServe's own method is: other tests of this process may have replaced that."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("plain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ARE_KEPT, "false")
        patch.setenv("SIGNET_WORKER_LOOP", "false")
        patch.setattr(Service, "set_cl_socket", _of_torchserve)
        patch.setattr(busy_flag, "_NAME", "signet-plain")  # other tests' handlers have flags in this process, too
        model = models.save(folder / "model", Formula(lambda x: x.sum(1)), np.ones((3, 2), np.float32))
        yield Server(models.unpack(model, folder / "mar"))


def _sized(content: bytes) -> bytes:
    return struct.pack("!i", len(content)) + content


def _message(requests: list[tuple[list[tuple[bytes, bytes, bytes]], bool]]) -> bytes:
    """A batch as TorchServe's frontend writes it."""
    end = struct.pack("!i", -1)
    parts = [b"I"]
    for number, (fields, is_explanation) in enumerate(requests):
        parts += [_sized(b"%d" % number), _sized(b"explain"), _sized(str(is_explanation).encode()), end]
        parts += [_sized(part) for field in fields for part in field]
        parts.append(end)
    return b"".join(parts) + end


def _answers(response: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Status, headers and body of each answer in TorchServe's message."""
    at = 4

    def number() -> int:
        nonlocal at
        (found,) = struct.unpack_from("!i", response, at)
        at += 4
        return int(found)

    def content() -> bytes:
        nonlocal at
        length = number()
        at += length
        return response[at - length : at]

    content()
    found = []
    while at < len(response) - 4:
        content()
        media, status, _ = content(), number(), content()
        headers = {content().decode(): content().decode() for _ in range(number())}
        assert headers.pop("content-type") == media.decode()
        found.append((status, headers | {"media": media.decode()}, content()))
    return found


def _predicted(server: Server, *names: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What TorchServe's own loop would send for a batch."""
    monkeypatch.setenv("TS_DECODE_INPUT_REQUEST", "false")  # as config.properties has it
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(_message([REQUESTS[name] for name in names]))
        _, batch = otf_message_handler.retrieve_msg(ours)
    service = Service("m", "", {}, server.handler.handle, None, 32, metrics_cache=server.context.metrics)
    service.cl_socket = None
    return _answers(bytes(service.predict(batch)))


def _told(name: str) -> Any:
    """The same request as our own loop hands it on."""
    fields, is_explanation = REQUESTS[name]
    media = next((media.decode() for field, media, _ in fields if field == b"body"), "")
    return Request(b"1", {field.decode(): value for field, _, value in fields}, media, is_explanation=is_explanation)


@pytest.mark.parametrize("name", REQUESTS)
def test_an_answer_is_the_same_in_both_loops(name: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its status, media type, version, rows and body."""
    (expected,) = server.handler.answer([_told(name)])
    assert expected is not None
    headers = {"X-Model-Version": "7", "media": expected.content_type}
    if expected.rows != 1:
        headers["X-Signet-Rows"] = str(expected.rows)
    assert _predicted(server, name, monkeypatch=monkeypatch) == [(expected.status, headers, expected.body)]


def test_a_batch_is_answered_as_a_whole(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Good and bad requests, those that enforcement decides on among them, each with its own answer."""
    together = _predicted(server, *REQUESTS, monkeypatch=monkeypatch)
    assert together == [_predicted(server, name, monkeypatch=monkeypatch)[0] for name in REQUESTS]
    assert {status for status, _, _ in together} == {200, 400}


def test_the_worker_is_busy_with_a_batch(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version does not end while it answers."""
    seen = []
    answer = server.handler.answer
    monkeypatch.setattr(server.handler, "answer", lambda batch: [seen.append(is_busy(os.getpid())), *answer(batch)][1:])
    _predicted(server, "a prediction", monkeypatch=monkeypatch)
    assert seen == [True]


def test_the_socket_stays_torchserves(server: Server) -> None:
    """The handler leaves TorchServe's own loop as it is."""
    assert server
    assert Service.set_cl_socket is _of_torchserve
