"""Stands before an ASGI app, such as a FastAPI's, and answers the requests that the contract rejects.

    app = ContractMiddleware(app, Contract.load("model"))

The app gets a right request as it came, byte for byte, and the model input in `scope["signet.model_input"]`. A body is
JSON or CSV; a form is no JSON, and is rejected. The fast path decides in the event loop. What may take longer
(enforcement, a large body) goes to a thread of asyncio's, so that the event loop stays free. ASGI is all that this
module knows of servers. Source: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from typing import Any

import orjson

from signet_contract.contract import Contract
from signet_contract.errors import DecidedTooLate, Rejected, cut
from signet_contract.request import decode

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MODEL_INPUT = "signet.model_input"
"""The key under which the scope of a right request has its `ModelInput`."""
MAX_BYTES = 6_553_500
_INLINE_BYTES = 1 << 16  # the largest body that is read without a thread


class ContractMiddleware:
    """An ASGI app that holds the POST requests to another app to a contract.

    Args:
        app: the app that answers right requests.
        contract: what a request must be.
        paths: where requests are checked; requests to other paths go on as they came.
        max_bytes: the largest body; a larger one gets a 413, and no more than this is held in memory.
        about: what else a rejection says, such as the `model` and its `version`.

    Raises:
        TypeError: the paths are one text.
    """

    def __init__(
        self,
        app: App,
        contract: Contract,
        paths: Collection[str] = ("/invocations",),
        *,
        max_bytes: int = MAX_BYTES,
        about: Mapping[str, str] | None = None,
    ) -> None:
        if isinstance(paths, str):
            raise TypeError(f"The paths are the text {paths!r}: expected a collection of paths, such as [{paths!r}].")
        self._app = app
        self._contract = contract
        self._paths = frozenset(paths)
        self._max_bytes = max_bytes
        self._about = about or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a wrong request; let the app answer any other."""
        if not self._is_checked(scope):
            await self._app(scope, receive, send)
            return
        headers = dict(reversed(scope["headers"]))  # the first of each name counts, as for Starlette
        try:
            self._require_readable(headers)
            body = await self._body(receive)
        except _Unreadable as error:
            await error.answer(receive, send)
            return
        if body is None:
            return
        try:
            content_type = headers.get(b"content-type", b"").decode("latin-1")
            if len(body) > _INLINE_BYTES:
                model_input = await asyncio.to_thread(self._contract.check, body, content_type)
            else:
                decoded = decode(body, content_type)
                known = self._contract.decide_fast(decoded)
                model_input = await asyncio.to_thread(self._contract.enforce, decoded) if known is None else known
        except (Rejected, DecidedTooLate) as error:
            # `default`: a request may name its columns by anything that JSON has.
            answer = orjson.dumps(error.document(**self._about), default=str)
            await _start(send, error.status, answer)
            await send({"type": "http.response.body", "body": answer})
            return
        await self._app({**scope, MODEL_INPUT: model_input}, _replay(body, receive), send)

    def _is_checked(self, scope: Scope) -> bool:
        if scope["type"] != "http" or scope["method"] != "POST":
            return False
        path = scope["path"]
        # An app that is mounted, or runs with a root path, finds its routes behind that.
        return path in self._paths or path.removeprefix(scope.get("root_path", "")) in self._paths

    def _require_readable(self, headers: Mapping[bytes, bytes]) -> None:
        encoding = headers.get(b"content-encoding", b"")
        if encoding and encoding.strip().lower() not in {b"", b"identity"}:
            named = cut(encoding.decode("latin-1"))
            raise _Unreadable(
                415,
                "UnsupportedContentEncoding",
                f"The body has the Content-Encoding '{named}', which is not served: send it uncompressed.",
                (b"accept-encoding", b"identity"),
            )
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._max_bytes:
            raise _too_large(self._max_bytes)

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body; None if its client went away before it was whole."""
        chunks, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk = message.get("body", b"")
            size += len(chunk)
            is_whole = not message.get("more_body", False)
            if size > self._max_bytes:
                raise _too_large(self._max_bytes, is_read=is_whole)
            chunks.append(chunk)
            if is_whole:
                return b"".join(chunks)


class _Unreadable(Exception):
    """A request whose body is not looked at, and perhaps not read to its end."""

    def __init__(
        self, status: int, type_: str, message: str, *headers: tuple[bytes, bytes], is_read: bool = False
    ) -> None:
        super().__init__(message)
        self._status, self._headers, self._is_read = status, headers, is_read
        self._document = {"code": status, "type": type_, "message": message}

    async def answer(self, receive: Receive, send: Send) -> None:
        """Answer at once, then let the body come to its end.

        A connection that is closed while its client still sends is reset, and the client may lose the answer.
        """
        answer = orjson.dumps(self._document)
        await _start(send, self._status, answer, *self._headers)
        await send({"type": "http.response.body", "body": answer, "more_body": True})
        with contextlib.suppress(OSError):  # the client has gone
            while not self._is_read:
                message = await receive()
                self._is_read = not message.get("more_body", False)
            await send({"type": "http.response.body", "body": b""})


def _too_large(most: int, *, is_read: bool = False) -> _Unreadable:
    message = f"The body has more than {most} bytes, the most that a request may have."
    return _Unreadable(413, "RequestTooLarge", message, is_read=is_read)


async def _start(send: Send, status: int, answer: bytes, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", str(len(answer)).encode())
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", b"application/json"), length, *headers],
        }
    )


def _replay(body: bytes, receive: Receive) -> Receive:
    """Receives the body again, and then whatever comes."""
    is_given = False

    async def replayed() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
