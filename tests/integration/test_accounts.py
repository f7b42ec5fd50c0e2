"""MLflow with accounts: the stack's own services sign in, and nobody else is let in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from testing.polling import until
from testing.repository import MODEL, SAMPLES

if TYPE_CHECKING:
    from compose_stack import ComposeStack

pytestmark = pytest.mark.compose


def test_the_stack_goes_on_with_accounts(compose: ComposeStack) -> None:
    """Training, the controller and the client do what they did; nobody else is let in; no log has a password."""
    with compose.laid_over("compose/accounts.yml"):
        search = f"{compose.mlflow_url}/api/2.0/mlflow/registered-models/search"
        assert requests.get(search, timeout=10).status_code == 401
        assert requests.get(search, auth=("admin", "admin"), timeout=10).status_code == 401
        admin = compose.secret("mlflow-server", "admin_password")
        assert requests.get(search, auth=("admin", admin), timeout=10).ok

        trained = compose.train("--max_epochs", "5")
        assert trained.returncode == 0, trained.stdout + trained.stderr
        found = requests.get(search, auth=("admin", admin), timeout=10).json()["registered_models"]
        (newest,) = [model["latest_versions"][0]["version"] for model in found if model["name"] == MODEL]
        deployed = compose.client("deploy", "--serialized_file_path", f"models:/{MODEL}/{newest}")
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
        sample = (SAMPLES / "sample.json").read_bytes()
        url = f"{compose.predictions_url}/predictions/{MODEL}"
        until(
            "the new version answers",
            lambda: requests.put(url, data=sample, timeout=10).headers.get("X-Model-Version") == newest,
            timeout_s=20,
        )
        assert '"untold": ""' in compose.told("http://127.0.0.1:8083/ready")
        logs = compose.compose("logs", "--no-color", "mlflow-server", "torchserve").stdout
        assert admin not in logs
        assert compose.secret("torchserve", "mlflow_password") not in logs
