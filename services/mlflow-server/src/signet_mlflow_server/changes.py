"""Tells clients whether the Model Registry has changed, without reading it: by ETags of its searches.

A search of a registry of ten thousand models costs the server seconds, and each replica of TorchServe searches again
and again. So each answer to a search has an ETag, and each change makes another ETag. A search with `If-None-Match` and
the current ETag is answered 304: at once, or with `Prefer: wait=1` after a second in which nothing has changed. Nobody
can guess an ETag: a client that has one was let in before.

All requests that change the registry pass through this process. A change of the database itself is not seen: a client
that must not miss one searches without `If-None-Match` now and then. A replica of TorchServe writes much and knows what
it has written: a client that sends its own name in `X-Signet-Process` gets an ETag of what all others have changed.

Source: https://www.rfc-editor.org/rfc/rfc9110#name-conditional-requests
Source: https://www.rfc-editor.org/rfc/rfc7240#section-4.3, the preference `wait`
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SEARCH = "/2.0/mlflow/registered-models/search"
_CHANGING = "/registered-models/", "/model-versions/", "/graphql"
_READING = "GET", "HEAD", "OPTIONS"
_NAME = b"x-signet-process"
_WAIT = re.compile(rb"\bwait=(\d{1,3})")
_MAX_WAIT_S = 1  # a server that is to end waits that long for such an answer
_MOST_NAMES = 10_000  # clients choose names. Beyond it all are forgotten: each client then gets one whole answer


class Changes:
    """An application whose searches for registered models are conditional.

    Args:
        app: MLflow's.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._changed = asyncio.Event()
        self._begin()

    def _begin(self) -> None:
        self._beginning = secrets.token_hex(8)
        self._count = 0
        self._own: Counter[bytes | None] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["method"] not in _READING and any(part in scope["path"] for part in _CHANGING):
            await self._changing(scope, receive, send)
        elif scope["method"] == "GET" and scope["path"].endswith(_SEARCH):
            await self._search(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _changing(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            self._note(scope)  # before the client gets its answer, and whether the change succeeded or not
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            self._note(scope)

    def _note(self, scope: Scope) -> None:
        if len(self._own) > _MOST_NAMES:
            self._begin()
        self._count += 1
        if (name := _header(scope, _NAME)) is not None:
            self._own[name] += 1
        self._changed.set()
        self._changed = asyncio.Event()  # for who waits from now on

    def _etag(self, scope: Scope) -> bytes:
        others = self._count - self._own[_header(scope, _NAME)]
        return f'"{self._beginning}-{others}"'.encode()

    async def _wait(self, scope: Scope, etag: bytes) -> None:
        """Wait as long as the client prefers, until the ETag is another one."""
        wait = _WAIT.search(_header(scope, b"prefer") or b"")
        until = time.monotonic() + min(int(wait[1]), _MAX_WAIT_S) if wait else 0.0
        while self._etag(scope) == etag and (left := until - time.monotonic()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)

    async def _search(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = _header(scope, b"if-none-match")
        if known == self._etag(scope):
            await self._wait(scope, known)
        etag = self._etag(scope)  # from before the search: it may miss a change during it
        if etag == known:
            await send({"type": "http.response.start", "status": 304, "headers": [(b"etag", etag)]})
            await send({"type": "http.response.body", "body": b""})
            return

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:  # noqa: PLR2004 -- OK
                message["headers"] = [*message.get("headers", []), (b"etag", etag)]
            await send(message)

        await self._app(scope, receive, tagged)


def _header(scope: Scope, name: bytes) -> bytes | None:
    return dict(scope["headers"]).get(name)
