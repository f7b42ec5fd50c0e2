"""MLflow's Model Registry as the control plane: what ought to be served, and what became of it."""

from __future__ import annotations

import datetime as dt
import platform
from pathlib import Path

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException

from signet_torchserve.options import TAGS, Champion

STATUS = "serving.status"
REASON = "serving.reason"
MAX_TAG_LENGTH = 4000


class RegistryUnreachable(Exception):
    """MLflow does not answer, or not as MLflow does; what is served goes on without it."""


class Registry:
    """The registry of one MLflow server, seen through one alias.

    Args:
        tracking_uri: the MLflow server.
        alias: a model version with this alias ought to be served.
    """

    def __init__(self, tracking_uri: str, alias: str) -> None:
        self._client = MlflowClient(tracking_uri)
        self._tracking_uri = tracking_uri
        self._alias = alias

    def champions(self) -> dict[str, Champion]:
        """Version that carries the alias, with its tags, by name of the registered model.

        Raises:
            RegistryUnreachable: the registry cannot be read.
        """
        champions: dict[str, Champion] = {}
        token = None
        while True:
            try:
                page = self._client.search_registered_models(page_token=token)
                champions |= {model.name: self._champion(model) for model in page if self._alias in model.aliases}
            except (MlflowException, OSError) as error:
                raise RegistryUnreachable(f"{self._tracking_uri}: {error}") from error
            token = page.token
            if not token:
                return champions

    def _champion(self, model: RegisteredModel) -> Champion:
        version = str(model.aliases[self._alias])
        # The latest version came with the model; any other has to be asked for.
        known = {str(latest.version): latest for latest in model.latest_versions}
        found = known.get(version) or self._client.get_model_version(model.name, version)
        return Champion(version, {tag: value for tag, value in found.tags.items() if tag in TAGS})

    def download(self, name: str, version: str, folder: Path) -> Path:
        """Folder below `folder` with the files of a model version.

        Raises:
            RegistryUnreachable: they cannot be had now.
        """
        try:
            uri = f"models:/{name}/{version}"
            return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder), tracking_uri=self._tracking_uri))
        except (MlflowException, OSError) as error:
            raise RegistryUnreachable(f"{self._tracking_uri}: {error}") from error

    def mark(self, name: str, version: str, status: str, reason: str) -> None:
        """Put what became of a deployment on the model version, with time and replica.

        `status` is `pending`, `ready`, `refused` or `failed`.

        Raises:
            RegistryUnreachable: the tags cannot be written now.
        """
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        note = f"{now} {platform.node()}: {reason}"[:MAX_TAG_LENGTH]
        try:
            self._client.set_model_version_tag(name, version, REASON, note)
            self._client.set_model_version_tag(name, version, STATUS, status)
        except (MlflowException, OSError) as error:
            raise RegistryUnreachable(f"{self._tracking_uri}: {error}") from error
