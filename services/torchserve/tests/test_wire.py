from __future__ import annotations

import socket
import struct
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signet_torchserve import wire
from ts.protocol import otf_message_handler

STOCK = otf_message_handler._retrieve_inference_msg

_names = st.text(max_size=8).map(str.encode)
_requests = st.fixed_dictionaries(
    {
        "id": _names,
        "headers": st.lists(st.one_of(st.tuples(_names, _names), st.just((b"explain", b"False"))), max_size=3),
        "parameters": st.lists(st.tuples(_names, _names, st.binary(max_size=3000)), max_size=3),
    }
)


def field(content: bytes) -> bytes:
    return struct.pack("!i", len(content)) + content


def message(requests: list[dict[str, Any]]) -> bytes:
    """A batch as TorchServe's ModelRequestEncoder writes it, without the byte that says its kind."""
    end = struct.pack("!i", -1)
    parts = []
    for request in requests:
        parts.append(field(request["id"]))
        parts += [field(part) for header in request["headers"] for part in header]
        parts.append(end)
        parts += [field(part) for parameter in request["parameters"] for part in parameter]
        parts.append(end)
    return b"".join(parts) + end


@pytest.fixture(autouse=True)
def _bodies_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `decode_input_request=false` of config.properties has it."""
    monkeypatch.setenv("TS_DECODE_INPUT_REQUEST", "false")


def received(read: Any, content: bytes, piece: int) -> list[dict[str, Any]]:
    """What `read` makes of a message that arrives in pieces."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pieces = [content[start : start + piece] for start in range(0, len(content), piece)]
        sender = threading.Thread(target=lambda: [theirs.sendall(part) for part in pieces])
        sender.start()
        requests: list[dict[str, Any]] = read(ours)
        sender.join()
        return requests


@given(requests=st.lists(_requests, max_size=4), piece=st.integers(1, 5000))
def test_a_batch_is_read_as_torchserve_reads_it(requests: list[dict[str, Any]], piece: int) -> None:
    """Identifiers and parameters are those that TorchServe's own reader finds, however the message was cut."""
    content = message(requests)
    expected = [
        request | {"headers": [header for header in request["headers"] if header["name"] == b"explain"]}
        for request in received(STOCK, content, piece)
    ]
    assert received(wire.read_batch, content, piece) == expected


def test_a_large_body_is_read_whole() -> None:
    """A body of many pieces comes back as it was sent."""
    body = bytes(range(256)) * 40_000
    (request,) = received(
        wire.read_batch, message([{"id": b"1", "headers": [], "parameters": [(b"body", b"", body)]}]), 100_000
    )
    assert request["parameters"][0]["value"] == body


def test_a_worker_ends_when_its_frontend_is_gone() -> None:
    """A connection that is closed, even within a message, ends the process without a fault."""
    ours, theirs = socket.socketpair()
    with ours:
        theirs.sendall(message([{"id": b"1", "headers": [], "parameters": []}])[:-6])
        theirs.close()
        with pytest.raises(SystemExit) as caught:
            wire.read_batch(ours)
        assert caught.value.code == 0
