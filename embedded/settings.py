"""What the embedded way to run takes from its environment, read nowhere else.

| variable | default | meaning |
| --- | --- | --- |
| `MLFLOW_PORT` | `5000` | port of the MLflow server on 127.0.0.1 under `make up`; 0 takes any free one |
| `TORCHSERVE_PORT` | `8080` | port of the predictions on 127.0.0.1 under `make up`; 0 takes any free one |

The variables of `HANDED_ON`, which switch clever pieces off, are handed on to the services; under `make serve` also
those of `REGISTRY`, which name the MLflow server.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values

from embedded.errors import InvalidSetting

ROOT = Path(__file__).resolve().parent.parent
# Variables with these prefixes are not handed on: they would tell a service's libraries something else than the stack.
_PREFIXES = ("MLFLOW_", "AWS_", "PG", "TS_", "SIGNET_", "PYTHON", "TORCHSERVE_")
# But these are: each switches a clever piece off; docs/cleverness.md says which.
HANDED_ON = (
    "SIGNET_PLAIN",
    "SIGNET_PATCHES",
    "SIGNET_FORK",
    "SIGNET_WORKER_LOOP",
    "SIGNET_CODE_GENERATION",
    "SIGNET_ENFORCEMENT_SERVICE",
    "SIGNET_STREAMING",
)
# Variables of MLflow's client and of the S3 client, for a server elsewhere.
REGISTRY = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_PASSWORD_FILE",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_TOKEN_FILE",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "MLFLOW_HTTP_REQUEST_TIMEOUT",
    "MLFLOW_S3_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_DEFAULT_REGION",
)


@dataclass(frozen=True)
class Settings:
    """The ports a person may wish for, where the data goes, and where an MLflow server elsewhere is."""

    mlflow_port: int = 5000
    torchserve_port: int = 8080
    home: Path = ROOT / ".signet"
    registry: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_environment(cls) -> "Settings":
        """Settings from the environment, then from the file `.env`. Raises InvalidSetting for a wrong port."""
        env = {**dotenv_values(ROOT / ".env"), **{name: value for name, value in os.environ.items() if value}}
        return cls(
            _port(env, "MLFLOW_PORT", cls.mlflow_port),
            _port(env, "TORCHSERVE_PORT", cls.torchserve_port),
            registry={name: value for name in REGISTRY if (value := env.get(name))},
        )


def _port(env: Mapping[str, str | None], name: str, default: int) -> int:
    value = env.get(name) or str(default)
    if not (value.isascii() and value.isdigit() and int(value) < 2**16):
        raise InvalidSetting(name, value, "a port from 0 to 65535")
    return int(value)


def clean_environment() -> dict[str, str]:
    """This process's environment without variables that would disturb a service; this Python's commands come first."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(_PREFIXES) or name in HANDED_ON}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    env["PYTHONUNBUFFERED"] = "1"
    env["PYTHONUTF8"] = "1"  # paths may have any character in every locale
    for name in ("NO_PROXY", "no_proxy"):
        env[name] = ",".join(filter(None, [env.get(name), "127.0.0.1", "localhost"]))
    return env
