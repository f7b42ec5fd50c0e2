"""What `-C name=value` may say about a deployment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from signet_client.deployments.mlflow_errors import DeploymentError
from signet_client.deployments.tag_names import PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

_WAIT = "wait"
_ALLOW_BREAKING = "allow_breaking"
# The smallest value of each, as the tags are called: requests, milliseconds, processes, seconds.
_LEAST = {"batch_size": 1, "max_batch_delay": 0, "workers": 1, "timeout_s": 1}


@dataclass(frozen=True)
class Config:
    """How one version is served, and whether to wait until it is."""

    tags: dict[str, str]
    """Tags of the model version, such as `serving.workers`, as the controller beside TorchServe reads them."""

    wait: bool = True

    @classmethod
    def parse(cls, config: Mapping[str, object] | None) -> Config:
        """Read texts of the command line, or numbers and booleans. Raises DeploymentError."""
        given = {name: str(value) for name, value in (config or {}).items()}
        wait = _boolean(_WAIT, given.pop(_WAIT, "true"))
        consent = _boolean(_ALLOW_BREAKING, given.pop(_ALLOW_BREAKING, "false"))
        for name, value in given.items():
            if name not in _LEAST:
                known = ", ".join((*_LEAST, _ALLOW_BREAKING, _WAIT))
                raise DeploymentError(f"Config {name!r} is unknown. Expected {known}.", INVALID_PARAMETER_VALUE)
            if not (value.isascii() and value.isdecimal() and int(value) >= _LEAST[name]):
                raise _invalid(name, value, f"a whole number from {_LEAST[name]} up")
        tags = {PREFIX + name: str(int(value)) for name, value in given.items()}
        return cls(tags | ({PREFIX + _ALLOW_BREAKING: "true"} if consent else {}), wait)


def configured(tags: Mapping[str, str]) -> dict[str, str]:
    """The config that stands on a version with these tags."""
    return {name: tags[PREFIX + name] for name in _LEAST if PREFIX + name in tags}


def _boolean(name: str, value: str) -> bool:
    if value.lower() not in {"true", "false"}:
        raise _invalid(name, value.lower(), "true or false")
    return value.lower() == "true"


def _invalid(name: str, value: str, expected: str) -> DeploymentError:
    return DeploymentError(f"Config {name!r} has value {value!r}. Expected {expected}.", INVALID_PARAMETER_VALUE)
