"""`signet deploy`: the seed's create_deployment.py, for a registry and a server that may be anywhere."""

from __future__ import annotations

import sys
from dataclasses import dataclass

_REFUSED, _FAILED = 1, 2


@dataclass(frozen=True)
class DeployOptions:
    """Put a model into service under a name, new or not, and wait until it is served.

    Exits with 0 when it is served, 1 if it was refused, 2 if anything else is in the way; the reason is one line on
    standard error.

    Args:
        serialized_file_path: The MLflow model's URI: models:/…, runs:/…, an address such as s3://…, or a folder.
        deployment_name: The deployment, which is the registered model's name.
    """

    serialized_file_path: str
    deployment_name: str = "iris_classification"


def deploy(options: DeployOptions) -> int:
    """Create the deployment, or update the one that has this name, and return the exit code."""
    from signet_client.deployments import TorchServeClient  # noqa: PLC0415 -- MLflow, which predicting can do without
    from signet_client.deployments.mlflow_errors import DeploymentError  # noqa: PLC0415 -- as above

    name = options.deployment_name
    try:
        client = TorchServeClient("torchserve")
        exists = name in {deployment["name"] for deployment in client.list_deployments()}
        put = client.update_deployment if exists else client.create_deployment
        version = put(name, options.serialized_file_path)["version"]
    except DeploymentError as error:
        print(f"signet: {error.format_message()}", file=sys.stderr)
        return _REFUSED if error.error_code == "BAD_REQUEST" else _FAILED
    print(f"Deployment {name} {'updated' if exists else 'created'} successfully: version {version}")
    return 0
