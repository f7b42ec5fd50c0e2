"""What the environment may set, read once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from signet_client.errors import InvalidSetting
from signet_client.mlflow_credentials import without_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Settings:
    """Where predictions are asked for, for how long an answer is waited for, and where deployments are made."""

    url: str = "http://127.0.0.1:8080"
    """SIGNET_URL: the prediction server's address, without a path, user and password."""

    timeout_s: float = 100.0
    """SIGNET_TIMEOUT_S: how long one answer may take, in seconds."""

    tracking_uri: str = "http://127.0.0.1:5000"
    """MLFLOW_TRACKING_URI: the MLflow server whose registry says what is deployed."""

    alias: str = "champion"
    """SIGNET_ALIAS: the alias that deploys."""

    door: str = "/run/door"
    """SIGNET_DOOR: the folder with the tokens and the certificate, which the gateway reads."""

    url_credentials: tuple[str, str] | None = field(default=None, repr=False)
    """User and password of SIGNET_URL."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the variables named above; an empty value is the default. Raises InvalidSetting."""
        url, url_credentials = server_url("SIGNET_URL", environment.get("SIGNET_URL") or cls.url)
        return cls(
            url=url,
            url_credentials=url_credentials,
            timeout_s=_timeout(environment.get("SIGNET_TIMEOUT_S") or str(cls.timeout_s)),
            tracking_uri=environment.get("MLFLOW_TRACKING_URI") or cls.tracking_uri,
            alias=environment.get("SIGNET_ALIAS") or cls.alias,
            door=environment.get("SIGNET_DOOR") or cls.door,
        )


def server_url(name: str, value: str) -> tuple[str, tuple[str, str] | None]:
    """The address without a slash at its end, and its user and password. Raises InvalidSetting, which has `name`."""
    value, credentials = without_credentials(value)
    expected = "http://HOST:PORT or https://HOST:PORT"
    try:
        parts = urlsplit(value)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, or a bracket that isn't closed
        valid = False
    if not valid or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise InvalidSetting(name, value, expected)
    user_and_password = tuple(credentials.values())
    return value.rstrip("/"), (user_and_password[0], user_and_password[1]) if user_and_password else None


def _timeout(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InvalidSetting("SIGNET_TIMEOUT_S", value, "a number of seconds above 0")
    return seconds
