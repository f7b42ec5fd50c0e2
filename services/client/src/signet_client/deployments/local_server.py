"""`mlflow deployments run-local`: the real TorchServe and its controller, with a registry that holds one model."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE, INVALID_STATE

from signet_client.deployments import model_uris, rollout
from signet_client.deployments.mlflow_errors import DeploymentError

if TYPE_CHECKING:
    from signet_client.deployments.config import Config
    from signet_client.settings import Settings

_COMMAND = "signet-torchserve"
_CONFIG_FILE = "config.properties"


def serve(name: str, model_uri: str, config: Config, settings: Settings) -> None:
    """Serve the model until interrupted. Raises DeploymentError if it can't be, and if the server ends by itself."""
    command = shutil.which(_COMMAND, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if command is None or importlib.util.find_spec("signet_contract") is None:
        raise DeploymentError(
            f"The command {_COMMAND} is not installed. Expected the package {_COMMAND} beside this one"
            " (pip install services/torchserve).",
            INVALID_STATE,
        )
    from signet_contract import os_compat  # noqa: PLC0415 -- comes with that package, and is needed here alone

    properties = Path(os.environ.get("TS_CONFIG_FILE", _CONFIG_FILE)).absolute()
    if not properties.is_file():
        raise DeploymentError(
            f"TorchServe's settings {str(properties)!r} are no file. Expected one there, or named by TS_CONFIG_FILE.",
            INVALID_PARAMETER_VALUE,
        )
    _refuse_taken(settings.url)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "model").mkdir()
        model = model_uris.fetched(model_uri, folder / "model")
        registry = (folder / "registry").as_uri()
        # As the registry, a folder needs neither server nor database driver; MLflow takes one only with this variable.
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
        client = MlflowClient(registry, registry)
        client.create_registered_model(name)
        version = str(client.create_model_version(name, str(model.absolute())).version)
        rollout.ask_for(client, name, version, config.tags)
        client.set_registered_model_alias(name, settings.alias, version)
        environment = {
            **os.environ,
            **_addresses(settings.url),
            "MLFLOW_TRACKING_URI": registry,
            "SIGNET_HOME": str(folder / "torchserve"),
            "TS_CONFIG_FILE": str(properties),
        }
        set_death_signal = os_compat.parent_death_signal(signal.SIGTERM)
        server = subprocess.Popen([command], env=environment, preexec_fn=set_death_signal)  # noqa: PLW1509, S603 -- before any thread; the command is ours
        try:
            rollout.wait_until_served(client, name, version, settings.alias, alive=lambda: server.poll() is None)
            print(f"{name} is served at {settings.url}/predictions/{name} until interrupted (Ctrl+C).", flush=True)
            code = server.wait()
        except KeyboardInterrupt:
            return
        finally:
            server.terminate()
            server.wait()
    raise DeploymentError(f"TorchServe has ended with exit code {code}. Expected it to run.", INTERNAL_ERROR)


def _refuse_taken(url: str) -> None:
    """Refuse an address whose port is taken. TorchServe would say so only in its log, after the model was fetched."""
    parts = urlsplit(url)
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((parts.hostname or "", _port(url)))
    except OSError as error:
        raise DeploymentError(
            f"Nothing can listen at {url}: {error.strerror}. Expected a free port of this machine (SIGNET_URL).",
            INVALID_PARAMETER_VALUE,
        ) from error


def _addresses(url: str) -> dict[str, str]:
    """Predictions at `url`, and all of TorchServe's other sockets on free ports of the loopback."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(2)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        metrics, health = (probe.getsockname()[1] for probe in probes)
    return {
        "TS_INFERENCE_ADDRESS": f"http://{urlsplit(url).hostname}:{_port(url)}",
        "TS_METRICS_ADDRESS": f"http://127.0.0.1:{metrics}",
        "SIGNET_HEALTH_ADDRESS": f"http://127.0.0.1:{health}",
    }


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)
