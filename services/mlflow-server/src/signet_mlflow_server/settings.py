"""What the server takes from its environment.

| variable | default | meaning |
| --- | --- | --- |
| `MLFLOW_HOST` | `127.0.0.1` | interface to listen on |
| `MLFLOW_PORT` | `5000` | port to listen on |
| `MLFLOW_BACKEND_STORE_URI` | `postgresql+psycopg2://` | database; this default leaves everything to libpq |
| `MLFLOW_ARTIFACTS_DESTINATION` | `s3://mlflow` | where proxied artifacts go |
| `MLFLOW_SERVER_ALLOWED_HOSTS` | nothing | Host headers that get an answer, besides localhost and `mlflow-server` |
| `SIGNET_ACCOUNTS_FILE` | nothing | JSON with the password of each account; where it is set, MLflow has accounts |
| `SIGNET_STREAMING` | `true` | `false` leaves MLflow's own routes for downloads as they are |
| `SIGNET_PLAIN` | `false` | `true` does the same |

Secrets come as files only, and only the libraries read them: libpq its `PGHOST`, `PGPORT`, `PGUSER`, `PGDATABASE` and
`PGPASSFILE`; boto its `AWS_SHARED_CREDENTIALS_FILE`; MLflow the store's address `MLFLOW_S3_ENDPOINT_URL`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

HIGHEST_PORT = 65535
# The stack's own names. MLflow matches the whole header, port included; `[[]` is how fnmatch spells a literal bracket.
OWN_HOSTS = "localhost,localhost:*,127.0.0.1,127.0.0.1:*,[::1],[[]::1]:*,mlflow-server,mlflow-server:*"


class InvalidSetting(ValueError):
    """A variable has a value that the server cannot use."""

    def __init__(self, name: str, value: str, expected: str) -> None:
        """Name the variable, its value and what was expected."""
        super().__init__(f"Setting {name} has value {value!r}. Expected {expected}.")


@dataclass(frozen=True, slots=True)
class Settings:
    """The server's settings, complete and checked."""

    host: str = "127.0.0.1"
    port: int = 5000
    # SQLAlchemy's own default for postgresql:// is psycopg 3, which MLflow does not need.
    backend_store_uri: str = "postgresql+psycopg2://"
    artifacts_destination: str = "s3://mlflow"
    allowed_hosts: str = OWN_HOSTS
    accounts_file: Path | None = None
    is_streaming: bool = True

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read `environment`, where an empty value counts as unset, as it does in a .environment file."""
        default = cls()
        return cls(
            host=environment.get("MLFLOW_HOST") or default.host,
            port=_port("MLFLOW_PORT", environment.get("MLFLOW_PORT") or str(default.port)),
            backend_store_uri=environment.get("MLFLOW_BACKEND_STORE_URI") or default.backend_store_uri,
            artifacts_destination=environment.get("MLFLOW_ARTIFACTS_DESTINATION") or default.artifacts_destination,
            allowed_hosts=",".join(filter(None, [OWN_HOSTS, environment.get("MLFLOW_SERVER_ALLOWED_HOSTS")])),
            accounts_file=_file("SIGNET_ACCOUNTS_FILE", environment.get("SIGNET_ACCOUNTS_FILE")),
            is_streaming=_is_true(environment, "SIGNET_STREAMING", "true")
            and not _is_true(environment, "SIGNET_PLAIN", "false"),
        )


def _is_true(environment: Mapping[str, str], name: str, default: str) -> bool:
    value = environment.get(name) or default
    if value not in {"true", "false"}:
        raise InvalidSetting(name, value, "true or false")
    return value == "true"


def _file(name: str, value: str | None) -> Path | None:
    if value and not os.access(value, os.R_OK):
        raise InvalidSetting(name, value, "a file that can be read")
    return Path(value) if value else None


def _port(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and 0 < int(value) <= HIGHEST_PORT):
        raise InvalidSetting(name, value, f"a port from 1 to {HIGHEST_PORT}")
    return int(value)
