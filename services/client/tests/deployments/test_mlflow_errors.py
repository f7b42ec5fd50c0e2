from __future__ import annotations

import os

import mlflow
import pytest
from click import ClickException
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS
from signet_client import errors
from signet_client.deployments.mlflow_errors import DeploymentError, as_mlflow_tells


def _told(error: Exception) -> DeploymentError:
    @as_mlflow_tells
    def fail() -> None:
        raise error

    with pytest.raises(DeploymentError) as caught:
        fail()
    return caught.value


def test_both() -> None:
    """It is MLflow's exception with its code, and click shows it as one line with its code."""
    error = DeploymentError("it\nexists", RESOURCE_ALREADY_EXISTS)
    assert isinstance(error, MlflowException)
    assert isinstance(error, ClickException)
    assert (error.error_code, str(error), error.message) == ("RESOURCE_ALREADY_EXISTS", "it\nexists", "it\nexists")
    assert error.format_message() == "RESOURCE_ALREADY_EXISTS: it exists"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidSetting("SIGNET_URL", "x", "y"), "INVALID_PARAMETER_VALUE"),
        (errors.UnknownDeployment("name", "url"), "RESOURCE_DOES_NOT_EXIST"),
        (errors.ServerUnreachable("url", "refused"), "TEMPORARILY_UNAVAILABLE"),
        (errors.ServerTooSlow("url", 30), "DEADLINE_EXCEEDED"),
        (errors.ServerFailed("url", 503, "no worker"), "INTERNAL_ERROR"),
        (errors.UnexpectedAnswer("url", "html"), "INTERNAL_ERROR"),
    ],
)
def test_the_clients_errors(error: errors.ClientError, code: str) -> None:
    """The client's own errors get the code that fits, and keep their words."""
    told = _told(error)
    assert (told.error_code, str(told), told.__cause__) == (code, str(error), error)


def test_mlflows_errors() -> None:
    """The server's errors keep code and words; the code is not said twice."""
    told = _told(RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such model"}))
    assert told.format_message() == "RESOURCE_DOES_NOT_EXIST: no such model"


def test_unreachable(unused_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracking server that is down is one short line; what the user has set of MLflow's manners stays."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(unused_url)
    try:
        with pytest.raises(DeploymentError) as caught:
            as_mlflow_tells(MlflowClient().search_registered_models)()
    finally:
        mlflow.set_tracking_uri(before)
    assert caught.value.error_code == "TEMPORARILY_UNAVAILABLE"
    assert str(caught.value) == (
        f"No answer from {unused_url}: Connection refused. Expected the MLflow server there (MLFLOW_TRACKING_URI)."
    )
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ
