"""What the environment may set, read once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from signet_client.errors import InvalidSetting

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Settings:
    """Where predictions are asked for, and for how long an answer is waited for."""

    url: str = "http://127.0.0.1:8080"
    """SIGNET_URL: the prediction server's address, without a path."""

    timeout_s: float = 30.0
    """SIGNET_TIMEOUT_S: how long one answer may take, in seconds."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Read SIGNET_URL and SIGNET_TIMEOUT_S; an empty value is the default. Raises InvalidSetting."""
        return cls(
            url=_url(environ.get("SIGNET_URL") or cls.url),
            timeout_s=_timeout(environ.get("SIGNET_TIMEOUT_S") or str(cls.timeout_s)),
        )


def _url(value: str) -> str:
    expected = "http://HOST:PORT or https://HOST:PORT"
    try:
        parts = urlsplit(value)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, or a bracket that isn't closed
        valid = False
    if not valid or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise InvalidSetting("SIGNET_URL", value, expected)
    return value.rstrip("/")


def _timeout(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InvalidSetting("SIGNET_TIMEOUT_S", value, "a number of seconds above 0")
    return seconds
