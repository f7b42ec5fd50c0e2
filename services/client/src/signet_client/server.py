"""The prediction server over HTTP: one request gets one complete answer or a named error."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests
import urllib3

from signet_client.errors import ServerTooSlow, ServerUnreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHUNK = 65_536


@dataclass(frozen=True)
class Answer:
    """A complete HTTP answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_ms: float

    @property
    def text(self) -> str:
        """The body as UTF-8, with what isn't UTF-8 replaced."""
        return self.body.decode("utf-8", errors="replace")

    @property
    def media_type(self) -> str:
        """The Content-Type without its parameters, in lower case; empty where none was sent."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def document(self) -> Any:
        """The body as JSON, None where it isn't JSON (or is `null`)."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def message(self) -> str | None:
        """The text of `message` in a JSON object, as MLflow's and TorchServe's errors have it."""
        document = self.document
        message = document.get("message") if isinstance(document, dict) else None
        return message if isinstance(message, str) else None

    def summary(self) -> str:
        """One short line for people: status, kind and how the body begins."""
        start = " ".join(self.text.split())
        return f"status {self.status}, {self.media_type or 'no content type'}: {start[:120] or 'empty body'}"


@dataclass(frozen=True)
class PredictionServer:
    """The server at `url`, for a user with a password; every answer must be complete within `timeout_s`."""

    url: str
    timeout_s: float
    credentials: tuple[str, str] | None = field(default=None, repr=False)

    def address(self, deployment: str) -> str:
        """Where the deployment's predictions are asked for."""
        return f"{self.url}/predictions/{quote(deployment, safe='')}"

    def ask(
        self,
        deployment: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> Answer:
        """Send the bytes as they are. Raises ServerUnreachable and ServerTooSlow.

        Every request has its own connection, straight to the server. Proxies and .netrc files of the environment do not
        count: they are for the internet, not for a server beside the client.
        """
        url = self.address(deployment)
        started = time.perf_counter()
        try:
            with requests.Session() as session:
                session.trust_env = False
                session.auth = self.credentials
                response = session.request(
                    method,
                    url,
                    data=body,
                    headers=dict(headers or {}),
                    timeout=self.timeout_s,
                    allow_redirects=False,
                    stream=True,
                )
                content = self._read(response, url, started)
        except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
            raise ServerTooSlow(url, self.timeout_s) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise ServerUnreachable(url, reason(error)) from error
        return Answer(response.status_code, response.headers, content, (time.perf_counter() - started) * 1000)

    def _read(self, response: requests.Response, url: str, started: float) -> bytes:
        """Read the body piece by piece, against the clock: the timeout of `requests` begins anew with every byte."""
        content = bytearray()
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            content += chunk
            if time.perf_counter() - started > self.timeout_s:
                raise ServerTooSlow(url, self.timeout_s)
        return bytes(content)


def reason(error: BaseException) -> str:
    """The innermost cause in the operating system's words, such as 'Connection refused'."""
    reason = ""
    is_proxys = False
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            reason = cause.strerror
        is_proxys |= isinstance(cause, requests.exceptions.ProxyError)
        last, cause = cause, cause.__cause__ or cause.__context__
    told = (reason or " ".join(str(last).split()) or type(last).__name__).rstrip(".")
    if is_proxys:
        return f"the proxy of HTTP_PROXY or HTTPS_PROXY can't be used ({told}); NO_PROXY lists what needs none"
    return told
