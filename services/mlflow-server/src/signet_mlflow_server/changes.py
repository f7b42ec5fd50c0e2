"""Tells clients whether the Model Registry has changed, without a look at it.

A search of a registry of ten thousand models costs the server seconds, and each replica of TorchServe asks again and
again. So each answer to a search has an ETag, another one after each change; a search with `If-None-Match` and the
current one is answered 304 at once. Nobody can guess an ETag: who has one was let in before.

What changes the registry passes through this process. A change of the database itself is not seen: who must not miss
one searches without `If-None-Match` now and then.

Source: https://www.rfc-editor.org/rfc/rfc9110#name-conditional-requests
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SEARCH = "/2.0/mlflow/registered-models/search"
_CHANGING = "/registered-models/", "/model-versions/", "/graphql"
_READING = "GET", "HEAD", "OPTIONS"


class Changes:
    """An application whose searches for registered models are conditional.

    Args:
        app: MLflow's.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._boot = secrets.token_hex(8)
        self._count = 0

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
            self._count += 1  # before its client knows, and whatever came of it
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            self._count += 1

    async def _search(self, scope: Scope, receive: Receive, send: Send) -> None:
        etag = f'"{self._boot}-{self._count}"'.encode()  # of now: the answer may lack what changes meanwhile
        if etag in (value for name, value in scope["headers"] if name == b"if-none-match"):
            await send({"type": "http.response.start", "status": 304, "headers": [(b"etag", etag)]})
            await send({"type": "http.response.body", "body": b""})
            return

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:  # noqa: PLR2004 -- OK
                message["headers"] = [*message.get("headers", []), (b"etag", etag)]
            await send(message)

        await self._app(scope, receive, tagged)
