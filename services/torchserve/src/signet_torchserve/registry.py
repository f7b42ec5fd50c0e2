"""MLflow's Model Registry as the control plane: what ought to be served, and what became of it."""

from __future__ import annotations

import datetime as dt
import platform
from pathlib import Path

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

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

    def champions(self) -> dict[str, str]:
        """Version that carries the alias, by name of the registered model.

        Raises:
            RegistryUnreachable: the registry cannot be read.
        """
        champions: dict[str, str] = {}
        token = None
        while True:
            try:
                page = self._client.search_registered_models(page_token=token)
            except (MlflowException, OSError) as error:
                raise RegistryUnreachable(f"{self._tracking_uri}: {error}") from error
            champions |= {model.name: str(model.aliases[self._alias]) for model in page if self._alias in model.aliases}
            token = page.token
            if not token:
                return champions

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
