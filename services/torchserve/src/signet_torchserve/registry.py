"""MLflow's Model Registry as the control plane: what ought to be served, and what became of it."""

from __future__ import annotations

import datetime as dt
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from signet_torchserve.champion import PREFIX, REASON, SERVED_AT, STATUS, Champion

MAX_TAG_LENGTH = 4000


class RegistryUnreachable(Exception):
    """MLflow does not answer, or not as MLflow does; what is served goes on without it."""


class Registry:
    """The registry of one MLflow server, seen through one alias.

    Every method raises `RegistryUnreachable` where the registry cannot be asked now.

    Args:
        tracking_uri: the MLflow server.
        alias: a model version with this alias ought to be served.
    """

    def __init__(self, tracking_uri: str, alias: str) -> None:
        self._client = MlflowClient(tracking_uri)
        self._tracking_uri = tracking_uri
        self._alias = alias

    def champions(self) -> dict[str, Champion]:
        """Version that carries the alias, with its tags, by name of the registered model."""
        champions: dict[str, Champion] = {}
        token = None
        while True:
            with self._reached():
                page = self._client.search_registered_models(page_token=token)
                champions |= {model.name: self._champion(model) for model in page if self._alias in model.aliases}
            token = page.token
            if not token:
                return champions

    def champion_version(self, name: str) -> str | None:
        """Version of one model that carries the alias at this moment."""
        with self._reached():
            version = self._client.get_registered_model(name).aliases.get(self._alias)
        return None if version is None else str(version)

    def last_served(self, name: str) -> Champion | None:
        """The version of a model that has come into service last, on any replica."""
        with self._reached():
            versions = self._client.search_model_versions(f"name = {_quoted(name)}", max_results=1000)
            created = self._client.get_registered_model(name).creation_timestamp
        champions = (_champion(version, created) for version in versions)
        served = [champion for champion in champions if champion.has_served]
        return max(served, key=lambda champion: champion.tags[SERVED_AT], default=None)

    def _champion(self, model: RegisteredModel) -> Champion:
        version = str(model.aliases[self._alias])
        # The latest version came with the model; any other has to be asked for.
        known = {str(latest.version): latest for latest in model.latest_versions}
        found = known.get(version) or self._client.get_model_version(model.name, version)
        return _champion(found, model.creation_timestamp)

    def download(self, name: str, version: str, folder: Path) -> Path:
        """Folder below `folder` with the files of a model version."""
        with self._reached():
            uri = f"models:/{name}/{version}"
            return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder), tracking_uri=self._tracking_uri))

    def mark(self, name: str, version: str, status: str, reason: str, tags: Mapping[str, str] | None = None) -> None:
        """Put what became of a deployment on the model version, with time and replica.

        Args:
            name: of the registered model.
            version: its number.
            status: `pending`, `ready`, `refused` or `failed`; set last, so that who sees it finds the rest.
            reason: why.
            tags: what else there is to say.
        """
        now = dt.datetime.now(dt.UTC)
        answers = {**(tags or {}), REASON: f"{now.isoformat(timespec='seconds')} {platform.node()}: {reason}"}
        if status == "ready":
            answers[SERVED_AT] = f"{now.isoformat(timespec='milliseconds')} as {name}/{version}"
        with self._reached():
            for tag, value in {**answers, STATUS: status}.items():
                self._client.set_model_version_tag(name, version, tag, value[:MAX_TAG_LENGTH])

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, OSError) as error:
            raise RegistryUnreachable(f"{self._tracking_uri}: {error}") from error


def _champion(version: ModelVersion, created: int) -> Champion:
    tags = {tag: value for tag, value in version.tags.items() if tag.startswith(PREFIX)}
    # A copy of a version has its tags, too, and has served nobody.
    if not tags.get(SERVED_AT, "").endswith(f" as {version.name}/{version.version}"):
        tags.pop(SERVED_AT, None)
    return Champion(str(version.version), tags, created)


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"
