"""Prompts are told from models as MLflow tells them."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from signet_mlflow_server import prompt_check

from testing.mlflow_store import empty_store

with warnings.catch_warnings():
    # MLflow 3.17 uses loader strategies that SQLAlchemy 2.1 has deprecated.
    warnings.simplefilter("ignore")
    from mlflow.entities.model_registry import RegisteredModelTag
    from mlflow.server import handlers
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
def test_a_prompt_is_what_mlflow_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one tag, whatever else a model has."""
    store = SqlAlchemyStore(empty_store(tmp_path))
    tags = {"model": {"a": "true"}, "no": {"mlflow.prompt.is_prompt": "false"}} | {
        value: {"mlflow.prompt.is_prompt": value, "a": "b"} for value in ("true", "True", "1", "")
    }
    for name, of_name in tags.items():
        store.create_registered_model(name or "empty", [RegisteredModelTag(*tag) for tag in of_name.items()])
    monkeypatch.setattr(handlers, "_get_model_registry_store", lambda: store)
    theirs = handlers._is_prompt
    monkeypatch.setattr(handlers, "_is_prompt", theirs)
    prompt_check.read_one_tag(handlers)
    assert handlers._is_prompt is not theirs
    for name in tags:
        assert handlers._is_prompt(name or "empty") is theirs(name or "empty"), name


def test_another_store_is_read_as_mlflow_reads_it() -> None:
    """Its handlers stay as they are."""
    others: Any = SimpleNamespace(_get_model_registry_store=object, _is_prompt=None)
    prompt_check.read_one_tag(others)
    assert others._is_prompt is None
