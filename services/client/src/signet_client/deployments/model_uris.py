"""Turns whatever names a model into a version of the deployment's own registered model."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import mlflow
import mlflow.artifacts
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_ALREADY_EXISTS, ErrorCode

# Private to MLflow: the one place where `models:/name@alias` and the like are read. Pinned by tests/integration.
from mlflow.store.artifact.utils.models import get_model_name_and_version

from signet_client.deployments.mlflow_errors import DeploymentError, is_unanswered
from signet_client.deployments.tag_names import OF_ONE_VERSION

if TYPE_CHECKING:
    from mlflow import MlflowClient

_MLMODEL = "MLmodel"
_DEFAULT_EXPERIMENT = "0"
_LOGGED_MODEL = re.compile(r"models:/m-[0-9a-f]{32}")


def registered(client: MlflowClient, name: str, model_uri: str) -> str:
    """The version of `name` that is the model at `model_uri`: its own, or a new one with that model's files.

    Raises MlflowException where there is no such model.
    """
    if model_uri.startswith("models:/") and not _LOGGED_MODEL.fullmatch(model_uri):
        source_name, source_version = get_model_name_and_version(client, model_uri)  # type: ignore[no-untyped-call]  # MLflow types it in part
        source = client.get_model_version(source_name, source_version)
        if source.name == name:
            return str(source.version)
        return copy(client, source.name, str(source.version), name)
    if model_uri.startswith("runs:/"):
        client.get_run(model_uri.removeprefix("runs:/").partition("/")[0])  # before anything is made
    if model_uri.startswith(("models:/", "runs:/")):
        return str(mlflow.register_model(model_uri, name).version)
    with tempfile.TemporaryDirectory() as temporary:
        return _upload(client, name, fetched(model_uri, Path(temporary)))


def copy(client: MlflowClient, name: str, version: str, to: str) -> str:
    """A new version of `to` with the files and tags of a version of `name`, without the tags `OF_ONE_VERSION`."""
    copied = client.copy_model_version(f"models:/{name}/{version}", to)
    for tag in OF_ONE_VERSION & copied.tags.keys():
        client.delete_model_version_tag(to, copied.version, tag)
    return str(copied.version)


def fetched(model_uri: str, folder: Path) -> Path:
    """The folder with the model's files: `model_uri` itself, or one below `folder`, into which they were fetched."""
    path = Path(model_uri)
    if path.is_file():
        raise DeploymentError(
            f"Model {model_uri!r} is a file. Expected the folder that mlflow.pytorch.save_model wrote, which holds a "
            f"file {_MLMODEL}.",
            INVALID_PARAMETER_VALUE,
        )
    if not path.is_dir():
        if not urlsplit(model_uri).scheme:
            raise DeploymentError(
                f"Model {model_uri!r} does not exist. Expected a folder, or a URI.", INVALID_PARAMETER_VALUE
            )
        try:
            path = Path(mlflow.artifacts.download_artifacts(model_uri, dst_path=str(folder)))
        except Exception as error:  # every kind of address has a driver with errors of its own
            if is_unanswered(error):
                raise
            raise DeploymentError(f"Model {model_uri!r} can't be fetched: {error}", INVALID_PARAMETER_VALUE) from error
    if not (path / _MLMODEL).is_file():
        raise DeploymentError(
            f"Model {model_uri!r} has no file {_MLMODEL}. Expected what mlflow.pytorch.save_model wrote.",
            INVALID_PARAMETER_VALUE,
        )
    return path


def _upload(client: MlflowClient, name: str, folder: Path) -> str:
    """A new version of `name` with the files of a folder of this machine."""
    model = client.create_logged_model(_DEFAULT_EXPERIMENT, name)
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
    version = client.create_model_version(name, f"models:/{model.model_id}", model_id=model.model_id)
    return str(version.version)
