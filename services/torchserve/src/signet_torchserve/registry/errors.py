"""What may go wrong with MLflow's registry, and which of it an error of MLflow's client is.

RegistryError
├── RegistryUnreachable   MLflow cannot be asked now: nothing is known
└── RegistryRefused       MLflow refuses something: that is one model's trouble
    └── RegistryDenied    MLflow knows no such account, or does not let it do this
"""

from __future__ import annotations

import requests
from google.protobuf.json_format import ParseError
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import CUSTOMER_UNAUTHORIZED, PERMISSION_DENIED, UNAUTHENTICATED, ErrorCode

_MAX_LENGTH = 500  # what stands before the server may answer with a whole page
_UNKNOWN_ACCOUNT = {ErrorCode.Name(code) for code in (CUSTOMER_UNAUTHORIZED, UNAUTHENTICATED)}


class RegistryError(Exception):
    """The registry has not done what it was asked to; what is served goes on."""


class RegistryUnreachable(RegistryError):
    """MLflow does not answer, or not as MLflow does."""


class RegistryRefused(RegistryError):
    """MLflow answers, and refuses what it is asked for."""


class RegistryDenied(RegistryRefused):
    """MLflow does not know the account, or does not let it do this."""


def explained(error: MlflowException | OSError | ParseError) -> tuple[type[RegistryError], str]:
    """Which of our errors an error of MLflow's client is, and what to say of it."""
    code = getattr(error, "error_code", "")
    if code in _UNKNOWN_ACCOUNT:
        return RegistryDenied, (
            "MLflow does not accept the account (401). Expected an account that may read the registry: "
            "MLFLOW_TRACKING_USERNAME with its password, or MLFLOW_TRACKING_TOKEN."
        )
    if code == ErrorCode.Name(PERMISSION_DENIED):
        return RegistryDenied, f"MLflow does not let the account do this (403): {short(error)}"
    if _has_cause(error, requests.exceptions.SSLError):
        return RegistryUnreachable, (
            f"TLS fails: {short(error)}. If the server's certificate is from an authority of your own, "
            "MLFLOW_TRACKING_SERVER_CERT_PATH names that authority's certificate."
        )
    if _has_cause(error, requests.ConnectionError, requests.Timeout, requests.exceptions.RetryError, ParseError):
        return RegistryUnreachable, str(error)
    return RegistryRefused, short(error)


def _has_cause(error: BaseException | None, *kinds: type[BaseException]) -> bool:
    return error is not None and (isinstance(error, kinds) or _has_cause(error.__cause__ or error.__context__, *kinds))


def short(error: BaseException) -> str:
    """What an error says, in one line that is not too long."""
    text = " ".join(str(error).split())
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}…"
