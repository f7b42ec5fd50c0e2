"""A real MLflow store for each test: SQLite and files below tmp_path."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from signet_trainer import data
from signet_trainer.data import Iris

from testing.mlflow_store import empty_store

# Warnings of libraries about themselves, each with where it is known.
KNOWN = (
    # Lightning 2.6 on torch 2.13: https://github.com/Lightning-AI/pytorch-lightning/issues/21326
    "ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning",
    # MLflow 3.17's store on SQLAlchemy 2.1: https://docs.sqlalchemy.org/en/21/orm/queryguide/relationships.html#sqlalchemy.orm.noload
    "ignore:The ``noload`` loader strategy is deprecated",
    # mlflow.pyfunc 3.17 says so about its own types as it is imported: mlflow/types/responses.py
    "ignore:.*Any type hint is inferred as AnyType:UserWarning",
    # mlflow.pytorch 3.17 hands torch the read-only array of a pandas 3 frame, which it only reads:
    # https://pandas.pydata.org/docs/user_guide/copy_on_write.html#read-only-numpy-arrays
    "ignore:The given NumPy array is not writable:UserWarning",
    # Worker processes would cost more than 90 rows in memory: src/signet_trainer/training.py, quieten()
    "ignore:.*does not have many workers:UserWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add the known warnings to this folder's tests only."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for warning in KNOWN:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture
def tracking_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a store of its own, with artifacts in the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "GIT_COMMIT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    uri = empty_store(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    yield uri
    while mlflow.active_run():
        mlflow.end_run()


@pytest.fixture(scope="session")
def iris() -> Iris:
    """The rows as the trainer splits them."""
    return data.load()
