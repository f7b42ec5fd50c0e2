"""MLflow's Model Registry as the control plane: what ought to be served, and what became of it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from google.protobuf.json_format import ParseError
from mlflow import MlflowClient
from mlflow.entities import FileInfo
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from signet_torchserve.registry.changes import RegistryChanges
from signet_torchserve.registry.errors import RegistryRefused, RegistryUnreachable, explained, short
from signet_torchserve.revision import PREFIX, REASON, REPLICA, SERVED_AT, STATUS, Revision, is_served_at

MAX_TAG_LENGTH = 4000
LISTED_AS_FAST = 10  # so many models in a list take as long as one that is asked for alone
PAGE = 1000  # models: the fewer pages, the fewer models move from one page to another while they are read
# Every model, and no prompt. MLflow's client adds a filter for models that are tagged as no prompts, unless a filter
# has that tag's name. A server from before prompts (MLflow 2.21) has no such tags.
EVERY_MODEL = "name != 'mlflow.prompt.is_prompt'"
EXPERIMENT = "0"  # MLflow's experiment that is always there: its tags tell which replicas there are
FILES_AT_ONCE = 4  # most files are small: one after the other, they would wait for the server most of the time
_PLAIN_NAME = re.compile(r"[\w .-]+")  # MLflow's filters have no way to quote what others have
_Found = TypeVar("_Found")


class _Model(NamedTuple):
    """What a look has found of a registered model."""

    revision: Revision | None = None
    """The version that carries the alias."""
    is_first: bool = False
    """Whether that version is the latest and has number 1, so that nothing can have served before it."""
    trouble: str = ""
    """Why the version that carries the alias cannot be read."""


class Registry:
    """The registry of one MLflow server, seen through one alias.

    Every method raises `RegistryUnreachable` where the registry cannot be asked now, and, unless it says otherwise,
    `RegistryRefused` where the registry has an error for an answer.

    Attributes:
        models: all that the registry had at the last look.
        firsts: those of them whose only version carries the alias: nothing has served before it.
        troubles: models whose version with the alias could not be read at the last look, and why.
        changes: of the registry since it was last asked.

    Args:
        tracking_uri: the MLflow server.
        alias: a model version with this alias ought to be served.
    """

    def __init__(self, tracking_uri: str, alias: str) -> None:
        self._client = MlflowClient(tracking_uri)
        self._tracking_uri = tracking_uri
        self._alias = alias
        self._presence = f"signet.{alias}.replica."
        self._models: dict[str, _Model] = {}
        self.models: AbstractSet[str] = frozenset()
        self.firsts: AbstractSet[str] = frozenset()
        self.troubles: dict[str, str] = {}
        self.changes = RegistryChanges(tracking_uri)

    def desired(self, changed: AbstractSet[str] | None = None) -> dict[str, Revision]:
        """Version that carries the alias, with its tags, by name of the registered model.

        A model whose version cannot be read is in `troubles` instead. Never raises `RegistryRefused`.

        Args:
            changed: the models that have changed since the last look, if that is known: only these are read anew, if
                that is cheaper.
        """
        filters, kept = [EVERY_MODEL], {}
        if (
            changed is not None
            and len(changed) * LISTED_AS_FAST <= len(self._models)
            and all(map(_PLAIN_NAME.fullmatch, changed))
        ):
            filters = [f"name = '{name}' AND {EVERY_MODEL}" for name in changed]
            kept = {name: model for name, model in self._models.items() if name not in changed}
        try:
            read = {model.name: self._found(model) for each in filters for model in self._search(each)}
        except RegistryRefused as error:
            raise RegistryUnreachable(str(error)) from error
        self._models = kept | read
        self.models = self._models.keys()
        self.firsts = {name for name, model in self._models.items() if model.is_first}
        self.troubles = {name: model.trouble for name, model in self._models.items() if model.trouble}
        return {name: model.revision for name, model in self._models.items() if model.revision is not None}

    def _search(self, which: str) -> Iterator[RegisteredModel]:
        token = None
        while True:
            with self._reached():
                page = self._client.search_registered_models(which, max_results=PAGE, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _found(self, model: RegisteredModel) -> _Model:
        version = model.aliases.get(self._alias)
        if version is None:
            return _Model()
        try:
            is_first = {str(latest.version) for latest in model.latest_versions} == {"1"}
            return _Model(self._revision(model), is_first)
        except RegistryRefused as error:
            return _Model(trouble=f"The alias {self._alias!r} is on version {version}, which cannot be read: {error}")

    def champion_version(self, name: str) -> str | None:
        """Version of one model that carries the alias at this moment; None also where there is no such model."""
        model = self._if_there(lambda: self._client.get_registered_model(name))
        version = model and model.aliases.get(self._alias)
        return None if version is None else str(version)

    def has(self, name: str, version: str) -> bool:
        """Whether a model has this version."""
        return self._if_there(lambda: self._client.get_model_version(name, version)) is not None

    def _if_there(self, ask: Callable[[], _Found]) -> _Found | None:
        """What MLflow answers; None where it says that there is no such thing."""
        with self._reached():
            try:
                return ask()
            except MlflowException as error:
                if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                    raise
                return None

    def last_served(self, name: str, created: int) -> Revision | None:
        """The version that has come into service last, on any replica, of the model that was created then."""
        quoted = name.replace("'", "''")
        with self._reached():
            versions = self._client.search_model_versions(f"name = '{quoted}'", max_results=1000)
        revisions = (_revision(version, created) for version in versions)
        served = [revision for revision in revisions if revision.has_served]
        return max(served, key=lambda revision: revision.tags[SERVED_AT], default=None)

    def _revision(self, model: RegisteredModel) -> Revision:
        version = str(model.aliases[self._alias])
        # The latest version came with the model. Any other one has to be asked for.
        known = {str(latest.version): latest for latest in model.latest_versions}
        with self._reached():
            found = known.get(version) or self._client.get_model_version(model.name, version)
        replicas = {tag: value or "" for tag, value in model.tags.items() if tag.startswith(REPLICA)}
        return _revision(found, model.creation_timestamp, replicas)

    def download(self, name: str, version: str, folder: Path, go_on: Callable[[], object] = lambda: None) -> Path:
        """Folder with the files of a model version.

        Args:
            name: of the registered model.
            version: its number.
            folder: where it is put.
            go_on: called before each file; what it raises ends the download.

        Raises:
            RegistryRefused: the registry answers, but a file cannot be fetched, or cannot be written here.
        """
        with self._fetching(name, version):
            uri = self._registry_client.get_model_version_download_uri(name, version)
            repository: Any = get_artifact_repository(uri, self._tracking_uri)
            files = repository.list_artifacts(None)
        if not files:
            raise RegistryRefused(
                f"The version's files are not complete: none of version {version} lies at {uri}, seen from here. If "
                "that is a folder of the MLflow server's own, the server needs --serve-artifacts before the model is "
                "logged."
            )

        def fetch(file: FileInfo) -> list[FileInfo]:
            if not file.is_dir:
                go_on()
            with self._fetching(name, version):
                if file.is_dir:
                    return list(repository.list_artifacts(file.path))
                # Both are private: the public way asks before each file, by a list, if it is a folder.
                path = repository._create_download_destination(file.path, str(folder))  # noqa: SLF001 -- as said above
                repository._download_file(file.path, path)  # noqa: SLF001 -- as said above
            return []

        with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
            while files:
                files = [inner for found in pool.map(fetch, files) for inner in found]
        return folder

    @contextmanager
    def _fetching(self, name: str, version: str) -> Iterator[None]:
        """Raise the right error if a file cannot be fetched: the store's driver does not say whether MLflow is away."""
        try:
            yield
        except Exception as error:  # every kind of store has a driver with errors of its own
            try:
                is_there = self.has(name, version)
            except RegistryRefused as other:
                raise RegistryUnreachable(str(other)) from error
            if not is_there:
                raise RegistryRefused(f"{self._tracking_uri}: Version {version} was deleted.") from error
            raise RegistryRefused(f"The files of version {version} cannot be downloaded: {short(error)}") from error

    def set_status(
        self, name: str, version: str, status: str, reason: str, tags: Mapping[str, str] | None = None
    ) -> None:
        """Put what became of a deployment on the model version.

        Args:
            name: of the registered model.
            version: its number.
            status: `pending`, `ready`, `refused`, `failed` or `retired`; set last, so that who sees it finds the rest.
            reason: why.
            tags: what else there is to say.
        """
        with self._reached():
            for tag, value in {**(tags or {}), REASON: reason, STATUS: status}.items():
                self._registry_client.set_model_version_tag(name, version, tag, value[:MAX_TAG_LENGTH])

    def set_replica_status(self, name: str, replica: str, entry: str | None) -> None:
        """Put what one replica says on the registered model; None takes it away."""
        with self._reached():
            if entry is None:
                self._registry_client.delete_registered_model_tag(name, REPLICA + replica)
            else:
                self._registry_client.set_registered_model_tag(name, REPLICA + replica, entry)

    def beat(self, replica: str) -> dict[str, str]:
        """Say that a replica is there; returns when each replica has said so last, by that replica's clock."""
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        with self._reached():
            self._client.set_experiment_tag(EXPERIMENT, self._presence + replica, now)
            tags = self._client.get_experiment(EXPERIMENT).tags
        return {tag.removeprefix(self._presence): at for tag, at in tags.items() if tag.startswith(self._presence)}

    def leave(self, replica: str) -> None:
        """Say that a replica is not there any more."""
        with self._reached():
            self._client.delete_experiment_tag(EXPERIMENT, self._presence + replica)

    @property
    def _registry_client(self) -> Any:
        """MLflow's `ModelRegistryClient`: `MlflowClient` itself would ask first whether the model is a prompt."""
        return self._client._get_registry_client()  # type: ignore[no-untyped-call]  # noqa: SLF001 -- a test pins it

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, OSError, ParseError) as error:
            kind, what = explained(error)
            raise kind(f"{self._tracking_uri}: {what}") from error


def _revision(version: ModelVersion, created: int, replicas: Mapping[str, str] | None = None) -> Revision:
    tags = {tag: value or "" for tag, value in version.tags.items() if tag.startswith(PREFIX)}
    if not is_served_at(tags.get(SERVED_AT, ""), version.name, version.version):
        tags.pop(SERVED_AT, None)
    return Revision(str(version.version), {**tags, **(replicas or {})}, created)
