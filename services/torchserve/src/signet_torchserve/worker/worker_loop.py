"""A worker's loop on its socket: it reads a batch of requests, and answers the batch with one write.

The loop that TorchServe ships reads its socket twice for each field of each request, makes many objects for a request,
and writes two log lines.

A request may stay undecided when its batch is answered. TorchServe (as `patches` change it) then names the request
again in the next batch, without its body, until it is answered or its client is gone.

Source: https://github.com/pytorch/serve/blob/v0.12.0/ts/protocol/otf_message_handler.py
"""

from __future__ import annotations

import functools
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import NoReturn

from ts.protocol.otf_message_handler import create_predict_response
from ts.service import Service

# The first read of a message has a small buffer: for one of a megabyte the allocator would ask the kernel each time.
_CHUNK_BYTES = 1 << 16
_LARGE_CHUNK_BYTES = 1 << 20
_END = -1

PREDICTION = ord("I")
"""Kind of the messages that hold requests; TorchServe sends no other once the model is loaded."""

ROWS = "X-Signet-Rows"
"""Header of an answer to other than one row: how many there are."""

EXPLAIN = b"explain"
"""Header that TorchServe adds: `True` for a request that came to /explanations, else `False`."""

_int = struct.Struct("!i").unpack_from
_pack = struct.Struct("!i").pack


@dataclass(slots=True)
class Request:
    """What a client sent: the fields of a form and of the URL's query, or one field `body` and its media type."""

    identifier: bytes
    fields: dict[str, bytes]
    content_type: str = ""
    is_explanation: bool = False
    repeated: str | None = None
    """Name of a field that came more than once; `fields` has its last value."""


@dataclass(slots=True)
class Answer:
    """What a client gets."""

    body: bytes
    content_type: str
    status: int = 200
    rows: int = 1
    """Rows that were predicted; the gateway's limits count them."""


Handle = Callable[[list[Request]], Sequence[Answer | None]]
"""Gives the answers to a batch, in its order; None for a request that is undecided yet."""


def take_over(serve: Callable[[socket.socket], NoReturn]) -> None:
    """Let `serve` have this worker's connection as soon as TorchServe has been told that the model is loaded."""
    # TorchServe makes this call when the model is loaded, right before it would wait for the first request itself.
    Service.set_cl_socket = lambda _, connection: serve(connection)


def serve(
    connection: socket.socket, handle: Handle, headers: Mapping[str, str], busy: AbstractContextManager[None]
) -> NoReturn:
    """Answer one batch after the other; exits when the frontend is gone.

    What `handle` raises is the fault of the server: the log gets its traceback, and every request of the batch a 5xx.

    Args:
        connection: to TorchServe's frontend.
        handle: answers a batch.
        headers: of every answer.
        busy: held from the first request until none is open.
    """
    fields = b"".join(_sized(text.encode()) for header in headers.items() for text in header)
    of_one_row = _pack(len(headers)) + fields
    of_many_rows = _pack(len(headers) + 1) + fields + _sized(ROWS.encode())
    while True:
        batch = read_batch(connection)
        with busy:
            while True:  # a batch with undecided requests is followed by one that names them again
                response, is_whole = _answered(batch, handle, of_one_row, of_many_rows)
                connection.sendall(response)
                if is_whole:
                    break
                batch = read_batch(connection)


def _answered(batch: list[Request], handle: Handle, of_one_row: bytes, of_many_rows: bytes) -> tuple[bytes, bool]:
    """The message for a batch, and whether it answers every request."""
    try:
        return _response(batch, handle(batch), of_one_row, of_many_rows)
    except Exception as error:  # noqa: BLE001 -- the edge of the process, where TorchServe does the same
        traceback.print_exc()  # to standard error, which TorchServe logs as warnings
        # As in TorchServe: CUDA words a lack of memory in several ways, so that any error of CUDA counts as one.
        lacks_resources = isinstance(error, MemoryError) or "CUDA" in str(error)
        status, reason = (507, "Out of resources") if lacks_resources else (503, "Prediction failed")
        identifiers = {index: request.identifier.decode() for index, request in enumerate(batch)}
        return bytes(create_predict_response(None, identifiers, reason, status)), True


def read_batch(connection: socket.socket) -> list[Request]:
    """Requests of the next message; exits when the frontend is gone.

    Of a request's HTTP headers only `EXPLAIN` is read: nothing here depends on the others.

    Raises:
        ValueError: the message is of another kind.
    """
    message = bytearray(_received(connection, _CHUNK_BYTES))
    if message[0] != PREDICTION:
        raise ValueError(f"Expected a message of the kind {PREDICTION}, got {message[0]}.")
    requests = []
    at = 1
    while True:
        try:
            while _int(message, at)[0] != _END:
                request, at = _request(message, at)
                requests.append(request)
        except struct.error:  # not all of it is here yet
            message += _received(connection, _LARGE_CHUNK_BYTES)
            continue
        return requests


def _received(connection: socket.socket, most: int) -> bytes:
    chunk = connection.recv(most)
    if not chunk:
        sys.exit(0)
    return chunk


def _request(message: bytearray, at: int) -> tuple[Request, int]:
    """The request that begins at `at`, and where it ends.

    Raises:
        struct.error: the end of the request has not arrived yet.
    """
    identifier, at = _field(message, at)
    request = Request(identifier, {})
    while (length := _int(message, at)[0]) != _END:
        start, at = at + 4, at + 4 + length
        if message[start:at] == EXPLAIN:
            value, at = _field(message, at)
            request.is_explanation = value == b"True"
        else:
            at += 4 + _int(message, at)[0]
    at += 4
    while _int(message, at)[0] != _END:
        name, at = _field(message, at)
        content_type, at = _field(message, at)
        value, at = _field(message, at)
        called = name.decode()
        if called in request.fields:
            request.repeated = called
        request.fields[called] = value
        if name == b"body":
            request.content_type = content_type.decode()
    return request, at + 4


def _field(message: bytearray, at: int) -> tuple[bytes, int]:
    start = at + 4
    end = start + _int(message, at)[0]
    if end > len(message):
        raise struct.error
    return bytes(message[start:end]), end


def _response(
    batch: Sequence[Request], answers: Sequence[Answer | None], of_one_row: bytes, of_many_rows: bytes
) -> tuple[bytes, bool]:
    parts, is_whole = [_SUCCESS], True
    for request, answer in zip(batch, answers, strict=True):
        if answer is None:
            parts += (_sized(request.identifier), _UNDECIDED)
            is_whole = False
            continue
        if answer.rows == 1:
            head = _head(answer.content_type, answer.status, of_one_row)
        else:
            head = _head(answer.content_type, answer.status, of_many_rows) + _sized(b"%d" % answer.rows)
        parts += (_sized(request.identifier), head, _sized(answer.body))
    parts.append(_pack(_END))
    return b"".join(parts), is_whole


@functools.cache
def _head(content_type: str, status: int, headers: bytes) -> bytes:
    """The part of an answer between identifier and body. There are only a few different ones."""
    return _sized(content_type.encode()) + _pack(status) + _sized(HTTPStatus(status).phrase.encode()) + headers


def _sized(content: bytes) -> bytes:
    return _pack(len(content)) + content


_SUCCESS = _pack(HTTPStatus.OK) + _sized(b"Prediction success")
# TorchServe sends the client no answer with this status; because of this header it keeps the request.
_UNDECIDED = b"".join(
    (
        _sized(b""),
        _pack(HTTPStatus.PROCESSING),
        _sized(b""),
        _pack(1),
        _sized(b"ts_stream_next"),
        _sized(b"true"),
        _sized(b""),
    )
)
