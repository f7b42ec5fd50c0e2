"""The plugin `torchserve` of `mlflow.deployments`.

MLflow finds three things in this module: the one subclass of BaseDeploymentClient, `run_local` and `target_help`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from signet_client.deployments import local_server, name_validation
from signet_client.deployments.client import TorchServeClient, refuse_foreign, use_registry
from signet_client.deployments.config import Config
from signet_client.deployments.mlflow_errors import as_mlflow_tells
from signet_client.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TorchServeClient", "run_local", "target_help"]


@as_mlflow_tells
def run_local(name: str, model_uri: str, flavor: str | None = None, config: Mapping[str, object] | None = None) -> None:
    """Serve one model on this machine, at SIGNET_URL's port, until interrupted; no registry of anybody's is touched.

    Needs the package signet-torchserve beside this one. Arguments as for `create_deployment`.
    """
    refuse_foreign(flavor, None)
    name_validation.check(name)
    parsed = Config.parse(config)
    settings = Settings.from_environment(os.environ)
    use_registry(settings)
    local_server.serve(name, model_uri, parsed, settings)


def target_help() -> str:
    """What `mlflow deployments help -t torchserve` prints."""
    return """
Deploys to every TorchServe whose controller follows the Model Registry at MLFLOW_TRACKING_URI (http://127.0.0.1:5000).
A deployment is a registered model whose alias 'champion' is set (SIGNET_ALIAS); its name is the registered model's.

Target:
  torchserve                    predictions are asked for at SIGNET_URL (http://127.0.0.1:8080)
  torchserve:/http://HOST:PORT  predictions are asked for there

Models (-m):
  models:/NAME/VERSION, models:/NAME@ALIAS, models:/MODEL_ID, runs:/RUN_ID/PATH, an address such as s3://BUCKET/PATH
  (with boto3 and your own keys), or a folder. A version of the registered model --name itself is deployed as it is;
  of anything else a new version is made first. A model needs a signature, an input example and the format pt2.

Config (-C name=value), kept on the model version:
  batch_size       most new requests in one batch
  max_batch_delay  milliseconds that a request may wait for others
  workers          processes that serve the model
  timeout_s        seconds that a request may take, and a batch of them, up to 600; then they get a 504
  allow_breaking   true: the version may go live though it breaks what clients of the live one send or read
  wait=false       create, update and delete return at once

create, update   move the alias and wait until every replica serves the version. One that is refused, or fails, on
                 all of them gives the alias back, and the message says why; where some replicas serve it, it stays, and
                 the others are named. update with -C alone rolls the same model out with the new config.
delete           takes the alias away and waits until the deployment is withdrawn; no version is deleted.
list, get        version, status (pending, ready, refused, failed), reason, config, and the status on each replica.
predict          --input-path is a JSON file in any format that the server takes.
explain          is refused: exported programs hold no explainer.
run-local        serves one model on this machine until interrupted; needs the package signet-torchserve.
"""
