"""Tells clients whether the Model Registry has changed, without reading it: by ETags of its searches.

A search of a registry of ten thousand models costs the server seconds, and each replica of TorchServe searches again
and again. So each answer to a search has an ETag, and each change makes another ETag. A search with `If-None-Match` and
the current ETag is answered 304: at once, or with `Prefer: wait=1` after a second in which nothing has changed. Nobody
can guess an ETag: a client that has one was let in before.

An answer that is not 304 names the registered models that have changed since the client's ETag, in `X-Signet-Changed`:
who knows the others need not search for all. The header is absent where the changes are too many or too long ago.

All requests that change the registry pass through this process. A change of the database itself is not seen: a client
that must not miss one searches without `If-None-Match` now and then. A replica of TorchServe writes much and knows what
it has written: a client that sends its own name in `X-Signet-Process` gets an ETag of what all others have changed.

Source: https://www.rfc-editor.org/rfc/rfc9110#name-conditional-requests
Source: https://www.rfc-editor.org/rfc/rfc7240#section-4.3, the preference `wait`
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections import Counter, deque
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SEARCH = "/2.0/mlflow/registered-models/search"
_CHANGING = "/registered-models/", "/model-versions/", "/graphql"
_READING = "GET", "HEAD", "OPTIONS"
_NAME = b"x-signet-process"
_CHANGED = b"x-signet-changed"
_WAIT = re.compile(rb"\bwait=(\d{1,3})")
_MAX_WAIT_S = 1  # a server that is to end waits that long for such an answer
_MOST_CHANGES = 10_000  # that are remembered
_MOST_BODY = 1 << 16  # bytes of a request in which its model's name is looked for
_LONGEST_NAME = 256  # as MLflow has it
_LONGEST_HEADER = 4096
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
        # Who has changed something last, and of which models; None if that cannot be told.
        self._log = deque[tuple[bytes | None, frozenset[str] | None]](maxlen=_MOST_CHANGES)

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
        body = bytearray()

        async def copied() -> Message:
            message = await receive()
            body.extend(message.get("body", b"")[: _MOST_BODY + 1 - len(body)])
            return message

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Before the client gets its answer, and whether the change succeeded or not.
                self._note(scope, body)
            await send(message)

        try:
            await self._app(scope, copied, counted)
        except BaseException:
            self._note(scope, body)
            raise

    def _note(self, scope: Scope, body: bytearray) -> None:
        if len(self._own) > _MOST_NAMES:
            self._begin()
        client = _header(scope, _NAME)
        self._count += 1
        if client is not None:
            self._own[client] += 1
        self._log.append((client, _models(body)))
        self._changed.set()
        self._changed = asyncio.Event()  # for who waits from now on

    def _etag(self, scope: Scope) -> bytes:
        return f'"{self._beginning}-{self._others(scope)}"'.encode()

    def _others(self, scope: Scope) -> int:
        """How many changes there were by others than the client."""
        return self._count - self._own[_header(scope, _NAME)]

    def _changed_since(self, scope: Scope, etag: bytes) -> bytes | None:
        """Names of the models that others have changed since this was the client's ETag, as JSON; None if unknown."""
        since = re.fullmatch(rf'"{self._beginning}-(\d{{1,15}})"', etag.decode("latin-1"))
        if since is None:
            return None
        client, missed = _header(scope, _NAME), self._others(scope) - int(since[1])
        others = (models for by, models in reversed(self._log) if by is None or by != client)
        found = list(islice(others, max(0, missed)))
        if len(found) != missed or None in found:
            return None
        names = json.dumps(sorted(frozenset[str]().union(*filter(None, found)))).encode()
        return names if len(names) <= _LONGEST_HEADER else None

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
        etag = self._etag(scope)  # before the search: a change during it must make another ETag
        if etag == known:
            await send({"type": "http.response.start", "status": 304, "headers": [(b"etag", etag)]})
            await send({"type": "http.response.body", "body": b""})
            return
        changed = None if known is None else self._changed_since(scope, known)

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:  # noqa: PLR2004 -- OK
                told = [(b"etag", etag), *([(_CHANGED, changed)] if changed is not None else [])]
                message["headers"] = [*message.get("headers", []), *told]
            await send(message)

        await self._app(scope, receive, tagged)


def _header(scope: Scope, name: bytes) -> bytes | None:
    return dict(scope["headers"]).get(name)


def _models(body: bytearray) -> frozenset[str] | None:
    """Models that a request names, two if it renames one; None if it cannot be told."""
    try:
        document = json.loads(body) if len(body) <= _MOST_BODY else None
    except (ValueError, RecursionError):
        return None
    names = [document[key] for key in ("name", "new_name") if key in document] if isinstance(document, dict) else []
    are_names = all(isinstance(name, str) and len(name) <= _LONGEST_NAME for name in names)
    return frozenset(names) if names and are_names else None
