"""MLflow stores in SQLite files. To make a store's tables takes seconds: they are made once, and the file is copied."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow import MlflowClient


def empty_store(folder: Path) -> str:
    """The address of an empty store of its own, for runs and for models."""
    file = folder / "mlflow.db"
    file.write_bytes(_empty())
    return f"sqlite:///{file}"


@cache
def _empty() -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "mlflow.db"
        MlflowClient(f"sqlite:///{file}").search_experiments()
        return file.read_bytes()
