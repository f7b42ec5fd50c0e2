"""Real models, real archives and TorchServe's own Context: what the tests of the serving package share."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # models.py and the like, which several test modules share

import testing.hypothesis_profile  # noqa: F401 -- which draws the cases

# As the TorchServe does for which the tests call a handler.
os.environ["SIGNET_UNDECIDED"] = "true"

with warnings.catch_warnings(action="ignore"):  # both leave their version.txt open
    import model_archiver.model_archiver  # noqa: F401 -- only to be loaded here
    import ts.service  # noqa: F401 -- as above

logging.getLogger("mlflow.models.utils").setLevel(logging.ERROR)  # the oracle asks it about extra columns all the time


@pytest.fixture(autouse=True, scope="session")
def _no_tracking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """MLflow writes nothing into the working directory."""
    folder = tmp_path_factory.mktemp("mlflow")
    before = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    yield
    if before is None:
        del os.environ["MLFLOW_TRACKING_URI"]
    else:
        os.environ["MLFLOW_TRACKING_URI"] = before
