"""Real models, real archives and TorchServe's own Context: what the tests of the serving package share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # oracle.py and the like, which several test modules share

# A few hundred examples in `make test`, the same each time; SIGNET_EXAMPLES=20000 searches anew and for longer.
EXAMPLES = os.environ.get("SIGNET_EXAMPLES")
hypothesis.settings.register_profile(
    "signet",
    max_examples=int(EXAMPLES or 300),
    derandomize=EXAMPLES is None,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("signet")

import logging  # noqa: E402

logging.getLogger("mlflow.models.utils").setLevel(logging.ERROR)  # the oracle asks it about extra columns all the time

from signet_torchserve import payload as payloads  # noqa: E402
from signet_torchserve.errors import Refusal  # noqa: E402
from signet_torchserve.signature import Feed, Signature  # noqa: E402


@pytest.fixture(scope="session")
def refused() -> Callable[[Signature, bytes, str], Refusal]:
    """Calls with a signature, a body and its media type; the refusal that comes of it."""

    def refusal(signature: Signature, body: bytes, content_type: str = "") -> Refusal:
        with pytest.raises(Refusal) as caught:
            signature.check(payloads.decode(body, content_type))
        return caught.value

    return refusal


@pytest.fixture(scope="session")
def fed() -> Callable[[Signature, bytes, str], Feed]:
    """Calls with a signature, a body and its media type; what the model would be called with."""

    def feed(signature: Signature, body: bytes, content_type: str = "") -> Feed:
        return signature.check(payloads.decode(body, content_type))

    return feed


@pytest.fixture(autouse=True, scope="session")
def _no_tracking_server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """MLflow writes nothing into the working directory."""
    folder = tmp_path_factory.mktemp("mlflow")
    before = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    yield
    if before is None:
        del os.environ["MLFLOW_TRACKING_URI"]
    else:
        os.environ["MLFLOW_TRACKING_URI"] = before
