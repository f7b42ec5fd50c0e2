"""Which names a deployment can have: checked before anything is uploaded. The controller has the same rule."""

from __future__ import annotations

import re

from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from signet_client.deployments.mlflow_errors import DeploymentError

# As signet_torchserve.name_validation has them; tests/integration holds both equal.
MAX_LENGTH = 246

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def check(name: str) -> None:
    """Raises DeploymentError for a name that TorchServe can't serve."""
    if not _PLAIN.fullmatch(name) or ".." in name:
        raise DeploymentError(
            f"Deployment {name!r} can't be served by TorchServe. Expected letters, digits, '_', '-' and '.', "
            "with a letter or digit first and no two dots in a row.",
            INVALID_PARAMETER_VALUE,
        )
    if len(name) > MAX_LENGTH:
        raise DeploymentError(
            f"Deployment {name[:20] + '…'!r} has a name of {len(name)} characters. Expected at most {MAX_LENGTH}.",
            INVALID_PARAMETER_VALUE,
        )
