"""HTTP/2 by hand, for what a client that means well cannot send. Source: RFC 9113, RFC 7541."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS = 1, 4


@dataclass(frozen=True)
class Answered:
    """What came back: the answer's body, or the end of the stream or of the connection instead."""

    body: bytes
    is_reset: bool


def ask(connection: ssl.SSLSocket, headers: Sequence[tuple[str, str]], stream: int = 1) -> Answered:
    """Send one request without a body, its headers as they are. A connection's streams are 1, 3, 5 and so on."""
    # Literals without indexing, their lengths below 127: the simplest of HPACK's encodings.
    block = b"".join(b"\x00" + b"".join(bytes([len(text)]) + text.encode() for text in header) for header in headers)
    begin = _PREFACE + _frame(_SETTINGS, 0, 0, b"") if stream == 1 else b""
    connection.sendall(begin + _frame(_HEADERS, _END_STREAM | _END_HEADERS, stream, block))
    body = b""
    while True:
        head = _read(connection, 9)
        if len(head) < 9:
            return Answered(body, is_reset=True)
        length, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
        payload = _read(connection, length)
        if kind in {_RST_STREAM, _GOAWAY}:
            return Answered(body, is_reset=True)
        if kind == _DATA:
            body += payload
        if kind in {_DATA, _HEADERS} and flags & _END_STREAM:
            return Answered(body, is_reset=False)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def _read(connection: ssl.SSLSocket, size: int) -> bytes:
    content = b""
    while len(content) < size and (chunk := connection.recv(size - len(content))):
        content += chunk
    return content
