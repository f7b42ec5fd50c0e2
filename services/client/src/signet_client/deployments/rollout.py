"""How a client follows a rollout: by the tags that the controllers write on the model version."""

from __future__ import annotations

import datetime as dt
import platform
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, DEADLINE_EXCEEDED, INTERNAL_ERROR, INVALID_STATE
from rich.console import Console
from rich.text import Text

from signet_client.deployments.mlflow_errors import DeploymentError, is_unanswered
from signet_client.deployments.tag_names import FAILED, PENDING, READY, REASON, REFUSED, REPLICA, STATUS
from signet_client.predict import is_unknown_deployment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

    from signet_client.server import PredictionServer

_SAID = re.compile(r"version (\S+) is (\w+) since ")
_POLL_S = 0.5
_SILENCE_S = 300
_UNKNOWN = "?"


class NotServed(DeploymentError):
    """The controller has refused the version, or could not bring it into service."""


def ask_for(client: MlflowClient, name: str, version: str, config: Mapping[str, str]) -> None:
    """Write config and status `pending` on a version, over those of an earlier deployment, before the alias moves."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    pending = {REASON: f"{now} {platform.node()}: its deployment is asked for", STATUS: PENDING}
    for tag, value in {**config, **pending}.items():
        client.set_model_version_tag(name, version, tag, value)


def replicas(model: RegisteredModel, version: str) -> dict[str, str]:
    """Status of a version on each replica that has told of it, by the replica's name."""
    said = {tag.removeprefix(REPLICA): _SAID.match(text) for tag, text in model.tags.items() if tag.startswith(REPLICA)}
    return {name: found[2] for name, found in sorted(said.items()) if found and found[1] == version}


def wait_until_served(
    client: MlflowClient, name: str, version: str, alias: str, *, alive: Callable[[], bool] = lambda: True
) -> None:
    """Show on standard error how the version comes into service; return when every replica serves it.

    It also returns when some replicas serve the version and the others have failed: the last line names these.

    Raises NotServed with the reason if no replica serves it. Raises DeploymentError if somebody has moved the alias
    meanwhile, if nothing was heard for five minutes, or if the controller is known not to be `alive`.
    """
    said, deadline = "", time.monotonic() + _SILENCE_S
    with _progress() as show:
        while True:
            status, reason = _status(client, name, version)
            line = f"{name} version {version} is {status}: {reason.partition(': ')[2]}"
            if line != said:
                said, deadline = line, time.monotonic() + _SILENCE_S
                show(line)
            if status == READY:
                return
            if status in {REFUSED, FAILED}:
                if READY in replicas(client.get_registered_model(name), version).values():
                    return
                raise NotServed(line, BAD_REQUEST if status == REFUSED else INTERNAL_ERROR)
            if (other := _carrier(client, name, alias)) not in {version, _UNKNOWN}:
                where = f"to version {other}" if other else "away"
                raise DeploymentError(
                    f"{line}; somebody has moved the alias {alias!r} {where} meanwhile. Expected it to stay.",
                    INVALID_STATE,
                )
            if not alive():
                raise DeploymentError(f"{line}; TorchServe has ended. Expected it to run.", INTERNAL_ERROR)
            if time.monotonic() > deadline:
                raise DeploymentError(
                    f"{line}; nothing new for {_SILENCE_S} s. Expected a TorchServe that follows this registry.",
                    DEADLINE_EXCEEDED,
                )
            time.sleep(_POLL_S)


def wait_until_withdrawn(server: PredictionServer, name: str) -> None:
    """Return when the prediction server knows no such deployment any more. Raises ClientError or DeploymentError."""
    deadline = time.monotonic() + _SILENCE_S
    with _progress() as show:
        show(f"{name} is being withdrawn")
        while not is_unknown_deployment(server.ask(name, b"")):
            if time.monotonic() > deadline:
                raise DeploymentError(
                    f"{server.address(name)} still answers after {_SILENCE_S} s. Expected that {name} is withdrawn.",
                    DEADLINE_EXCEEDED,
                )
            time.sleep(_POLL_S)


def _status(client: MlflowClient, name: str, version: str) -> tuple[str, str]:
    try:
        tags = client.get_model_version(name, version).tags
    except MlflowException as error:
        if not is_unanswered(error):
            raise
        return PENDING, ": MLflow doesn't answer"
    return tags.get(STATUS, PENDING), tags.get(REASON, "")


def _carrier(client: MlflowClient, name: str, alias: str) -> str | None:
    """The version that carries the alias; `_UNKNOWN` while MLflow doesn't answer."""
    try:
        version = client.get_registered_model(name).aliases.get(alias)
    except MlflowException as error:
        if not is_unanswered(error):
            raise
        return _UNKNOWN
    return None if version is None else str(version)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """A line that changes on a terminal, a line for each change elsewhere."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda line: console.print(Text(line), soft_wrap=True)
        return
    with console.status("") as status:
        yield lambda line: status.update(Text(line))
