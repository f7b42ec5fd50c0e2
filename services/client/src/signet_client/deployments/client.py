"""The deployment client of MLflow's plugin `torchserve`: it deploys a version by moving the alias to it."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow import MlflowClient
from mlflow.deployments import BaseDeploymentClient, PredictionsResponse
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    BAD_REQUEST,
    INVALID_PARAMETER_VALUE,
    NOT_IMPLEMENTED,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST,
    ErrorCode,
)

from signet_client.deployments import inputs as request
from signet_client.deployments import model_uris, name_validation, rollout
from signet_client.deployments.config import Config, configured
from signet_client.deployments.mlflow_errors import DeploymentError, as_mlflow_tells
from signet_client.deployments.tag_names import PENDING, REASON, STATUS
from signet_client.errors import InvalidSetting, OtherRegistry
from signet_client.mlflow_credentials import credentials_in_files, without_credentials
from signet_client.predict import ask
from signet_client.server import PredictionServer
from signet_client.settings import Settings, server_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

_FLAVOR = "pytorch"
_OK = 200
# The controller has the same filter: without one, MLflow's client finds no model on servers from before 2.21.
_EVERY_MODEL = "name != 'mlflow.prompt.is_prompt'"


class TorchServeClient(BaseDeploymentClient):
    """Deployments on every TorchServe whose controller follows the Model Registry.

    A deployment is a registered model that carries the alias `champion`; its name is the registered model's. The
    registry is MLflow's tracking server as MLflow knows it (MLFLOW_TRACKING_URI), else http://127.0.0.1:5000.

    Args:
        target_uri: `torchserve`, or `torchserve:/http://HOST:PORT` for predictions elsewhere than at SIGNET_URL.

    Raises:
        DeploymentError: with an error code, as every method does; it is an MlflowException.
    """

    @as_mlflow_tells
    def __init__(self, target_uri: str) -> None:
        super().__init__(target_uri)  # type: ignore[no-untyped-call]  # MLflow types it in part
        settings = Settings.from_environment(os.environ)
        address = target_uri.partition(":")[2].lstrip("/")
        if address:
            url, credentials = server_url("target", address)
            settings = replace(settings, url=url, url_credentials=credentials)
        use_registry(settings)
        self._alias = settings.alias
        self._server = PredictionServer(settings.url, settings.timeout_s, settings.url_credentials)

    @as_mlflow_tells
    def create_deployment(
        self,
        name: str,
        model_uri: str,
        flavor: str | None = None,
        config: Mapping[str, object] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Deploy a model under a new name, and wait until it is served.

        Args:
            name: the deployment's, and the registered model's.
            model_uri: `models:/`, `runs:/`, an address such as `s3://…`, or a folder. Unless it is a version of the
                registered model `name`, its files become a new one.
            flavor: None or `pytorch`.
            config: `batch_size`, `max_batch_delay` in milliseconds, `workers`, `timeout_s`; with `allow_breaking` true
                it may break clients of the live version; with `wait` false the call returns at once.
            endpoint: None, there are none.
        """
        refuse_foreign(flavor, endpoint)
        name_validation.check(name)
        parsed = Config.parse(config)
        champion = self._champion(name)
        if champion is not None:
            raise DeploymentError(
                f"Deployment {name!r} exists: its version {champion} carries the alias {self._alias!r}."
                " Expected a new name, or an update.",
                RESOURCE_ALREADY_EXISTS,
            )
        return self._deploy(name, model_uri, parsed, None)

    @as_mlflow_tells
    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,
        config: Mapping[str, object] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Deploy another model, or the same one with another config, under a name that exists; wait until it is served.

        A new config alone makes a new version, too: it is rolled out beside the live one, and can be rolled back.
        """
        refuse_foreign(flavor, endpoint)
        parsed = Config.parse(config)
        champion = self._champion(name)
        if champion is None:
            raise self._unknown(name)
        if model_uri is None and not parsed.tags:
            raise DeploymentError(
                f"The update of {name!r} changes nothing. Expected a model URI or config.", INVALID_PARAMETER_VALUE
            )
        return self._deploy(name, model_uri or f"models:/{name}/{champion}", parsed, champion)

    @as_mlflow_tells
    def delete_deployment(
        self, name: str, config: Mapping[str, object] | None = None, endpoint: str | None = None
    ) -> None:
        """Take the alias away, and wait until the deployment is gone. The registered model and its versions stay.

        A name that is not deployed is no error.
        """
        refuse_foreign(None, endpoint)
        parsed = Config.parse(config)
        if parsed.tags:
            raise DeploymentError("A delete takes no config. Expected wait alone.", INVALID_PARAMETER_VALUE)
        if self._champion(name) is None:
            return
        MlflowClient().delete_registered_model_alias(name, self._alias)
        if parsed.wait:
            rollout.wait_until_withdrawn(self._server, name)

    @as_mlflow_tells
    def list_deployments(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """Name, version, status, reason, config and replicas of every deployment, by name."""
        refuse_foreign(None, endpoint)
        client = MlflowClient()
        deployed: list[dict[str, Any]] = []
        token = None
        while True:
            page = client.search_registered_models(_EVERY_MODEL, order_by=["name"], page_token=token)
            deployed += [
                _described(model, client.get_model_version(model.name, model.aliases[self._alias]))
                for model in page
                if self._alias in model.aliases
            ]
            token = page.token
            if not token:
                return deployed

    @as_mlflow_tells
    def get_deployment(self, name: str, endpoint: str | None = None) -> dict[str, Any]:
        """Name, version, status, reason, config and, by its name, each replica's status of a deployment."""
        refuse_foreign(None, endpoint)
        champion = self._champion(name)
        if champion is None:
            raise self._unknown(name)
        client = MlflowClient()
        return _described(client.get_registered_model(name), client.get_model_version(name, champion))

    @as_mlflow_tells
    def predict(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> PredictionsResponse:
        """Ask for predictions.

        Args:
            deployment_name: the deployment's.
            inputs: a DataFrame, a tensor, an array, a dict, a list or a JSON text in any format that is served.
            endpoint: None, there are none.
        """
        refuse_foreign(None, endpoint)
        if not deployment_name:
            raise DeploymentError(
                "No deployment is named. Expected a registered model's name.", INVALID_PARAMETER_VALUE
            )
        body = request.body(request.as_written(inputs))
        answer = ask(self._server, deployment_name, body, "application/json")
        if answer.status != _OK:
            raise DeploymentError(str(answer.message), BAD_REQUEST)
        document = answer.document if answer.media_type == "application/json" else answer.text.strip()
        if isinstance(document, dict) and "predictions" in document:
            return PredictionsResponse(document)
        return PredictionsResponse({"predictions": document})

    @as_mlflow_tells
    def explain(self, deployment_name: str | None = None, df: Any = None, endpoint: str | None = None) -> Any:
        """Refused: an exported program brings no explainer."""
        del df, endpoint
        raise DeploymentError(
            f"Deployment {deployment_name!r} can't explain its predictions: it is an exported program,"
            " which holds the model and no explainer.",
            NOT_IMPLEMENTED,
        )

    def _champion(self, name: str) -> str | None:
        """The version of `name` that carries the alias; None if there is no such model or no version carries it."""
        try:
            version = MlflowClient().get_registered_model(name).aliases.get(self._alias)
        except MlflowException as error:
            if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                return None
            raise
        return None if version is None else str(version)

    def _deploy(self, name: str, model_uri: str, config: Config, champion: str | None) -> dict[str, Any]:
        client = MlflowClient()
        version = model_uris.registered(client, name, model_uri)
        if version == champion and config.tags:  # the tags of a live version stay: a copy gets the new config
            version = model_uris.copy(client, name, version, name)
        if version != champion:
            rollout.ask_for(client, name, version, config.tags)
            client.set_registered_model_alias(name, self._alias, version)
        if config.wait:
            try:
                rollout.wait_until_served(client, name, version, self._alias)
            except rollout.NotServed as error:
                raise self._put_back(client, error, name, version, champion) from error
        return {"name": name, "flavor": _FLAVOR, "version": version}

    def _put_back(
        self, client: MlflowClient, error: DeploymentError, name: str, version: str, champion: str | None
    ) -> DeploymentError:
        """Give the alias back to `champion`, unless somebody has moved it meanwhile. Returns the error to raise."""
        if version == champion or self._champion(name) != version:
            return error
        if champion is None:
            client.delete_registered_model_alias(name, self._alias)
            outcome = f"{name} is not deployed."
        else:
            client.set_registered_model_alias(name, self._alias, champion)
            outcome = f"Version {champion} goes on, and carries the alias {self._alias!r} again."
        return DeploymentError(f"{error.message.rstrip('.')}. {outcome}", ErrorCode.Value(error.error_code))

    def _unknown(self, name: str) -> DeploymentError:
        return DeploymentError(
            f"Deployment {name!r} does not exist. Expected a registered model whose alias {self._alias!r} is set.",
            RESOURCE_DOES_NOT_EXIST,
        )


def use_registry(settings: Settings) -> None:
    """Use the registry that MLflow was told of, else ours: MLflow's own default is a file that no server reads.

    Raises InvalidSetting and OtherRegistry.
    """
    is_set = mlflow.is_tracking_uri_set()  # type: ignore[no-untyped-call]  # MLflow types it in part
    address, credentials = without_credentials(mlflow.get_tracking_uri() if is_set else settings.tracking_uri)
    if "://" not in address:
        raise InvalidSetting("MLFLOW_TRACKING_URI", address, f"a scheme, too, such as http://{address}")
    try:
        in_files = credentials_in_files(os.environ)
    except OSError as error:
        expected = "a readable file"
        raise InvalidSetting("MLFLOW_TRACKING_PASSWORD_FILE or …_TOKEN_FILE", str(error.filename), expected) from error
    os.environ.update({**in_files, **credentials})  # MLflow's own messages show the address
    mlflow.set_tracking_uri(address)
    registry, _ = without_credentials(mlflow.get_registry_uri())
    if registry != address:
        raise OtherRegistry(registry, address)


def refuse_foreign(flavor: str | None, endpoint: str | None) -> None:
    """Refuse a flavor that is not served, and any endpoint: there are none. Raises DeploymentError."""
    if flavor not in {None, _FLAVOR}:
        raise DeploymentError(f"Flavor {flavor!r} can't be served. Expected {_FLAVOR!r}.", INVALID_PARAMETER_VALUE)
    if endpoint is not None:
        raise DeploymentError(
            f"Endpoint {endpoint!r} can't be addressed: there are deployments only. Expected a name.",
            INVALID_PARAMETER_VALUE,
        )


def _described(model: RegisteredModel, version: ModelVersion) -> dict[str, Any]:
    return {
        "name": version.name,
        "flavor": _FLAVOR,
        "version": str(version.version),
        "status": version.tags.get(STATUS, PENDING),
        "reason": version.tags.get(REASON, ""),
        "config": configured(version.tags),
        "replicas": rollout.replicas(model, str(version.version)),
    }
