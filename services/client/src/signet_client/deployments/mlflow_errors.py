"""What a deployment fails with: MLflow's exception, which its command line shows as one line."""

from __future__ import annotations

import functools
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import mlflow
import requests
from click import ClickException
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    DEADLINE_EXCEEDED,
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
    ErrorCode,
)

from signet_client.errors import (
    ClientError,
    InvalidSetting,
    MlflowUnreachable,
    OtherRegistry,
    ServerTooSlow,
    ServerUnreachable,
    UnknownDeployment,
)
from signet_client.interruption import interruptible
from signet_client.server import reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
R = TypeVar("R")

_CODES: tuple[tuple[type[ClientError], int], ...] = (
    (InvalidSetting, INVALID_PARAMETER_VALUE),
    (OtherRegistry, INVALID_PARAMETER_VALUE),
    (UnknownDeployment, RESOURCE_DOES_NOT_EXIST),
    (ServerUnreachable, TEMPORARILY_UNAVAILABLE),
    (ServerTooSlow, DEADLINE_EXCEEDED),
    (ClientError, INTERNAL_ERROR),
)
# By itself MLflow's client asks a server that is down for four minutes, and fills a log with progress bars.
_MANNERS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
_MANNERS_IN_A_LOG = {**_MANNERS, "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}


class DeploymentError(MlflowException, ClickException):  # type: ignore[misc]  # both set `message`, to the same
    """MLflow's exception with its error code, and click's, so that `mlflow deployments` prints no traceback."""

    def format_message(self) -> str:
        """The line that click prints after `Error: `."""
        return f"{self.error_code}: {' '.join(self.message.split())}"


def as_mlflow_tells(function: Callable[P, R]) -> Callable[P, R]:
    """Let the function fail with DeploymentError, soon if MLflow's server is down, and end when it is interrupted."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with _manners(), interruptible():
                return function(*args, **kwargs)
        except DeploymentError:
            raise
        except ClientError as error:
            code = next(code for kind, code in _CODES if isinstance(error, kind))
            raise DeploymentError(str(error), code) from error
        except (MlflowException, requests.RequestException) as error:
            if is_unanswered(error):
                unreachable = MlflowUnreachable(mlflow.get_tracking_uri(), reason(error))
                raise DeploymentError(str(unreachable), TEMPORARILY_UNAVAILABLE) from error
            name = str(getattr(error, "error_code", "INTERNAL_ERROR"))
            raise DeploymentError(str(error).removeprefix(f"{name}: "), ErrorCode.Value(name)) from error

    return call


def is_unanswered(error: BaseException) -> bool:
    """Whether MLflow's server gave no answer at all."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, requests.RequestException):
        cause = cause.__cause__ or cause.__context__
    return isinstance(cause, requests.ConnectionError | requests.Timeout)


@contextmanager
def _manners() -> Iterator[None]:
    """How MLflow's client goes about its work; what the user has set wins."""
    wanted = _MANNERS if sys.stderr.isatty() else _MANNERS_IN_A_LOG
    ours = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
