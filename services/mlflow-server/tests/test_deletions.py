"""A registered model is deleted whoever else writes to it."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from mlflow.exceptions import MlflowException
from signet_mlflow_server import deletions
from sqlalchemy import event
from sqlalchemy.orm import Session

from testing.mlflow_store import empty_store

with warnings.catch_warnings():
    # MLflow 3.17 uses loader strategies that SQLAlchemy 2.1 has deprecated.
    warnings.simplefilter("ignore")
    from mlflow.entities.model_registry import RegisteredModelTag
    from mlflow.server import handlers
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Store = Any


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A registry with the model `fare`, which has a tag."""
    store = SqlAlchemyStore(empty_store(tmp_path))
    store.create_registered_model("fare", [RegisteredModelTag("a", "b")])
    return store


@pytest.fixture
def while_it_is_deleted() -> Iterator[list[Callable[[], None]]]:
    """What is done, one a deletion, after MLflow has read the model and before the database deletes it."""
    acts: list[Callable[[], None]] = []

    def before_flush(session: Session, *_: object) -> None:
        if any(type(it).__name__ == "SqlRegisteredModel" for it in session.deleted) and acts:
            acts.pop()()

    event.listen(Session, "before_flush", before_flush)
    yield acts
    event.remove(Session, "before_flush", before_flush)


def _tagged(store: Store, key: str) -> Callable[[], None]:
    return lambda: store.set_registered_model_tag("fare", RegisteredModelTag(key, "c"))


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
def test_a_tag_is_written_meanwhile(store: Store, while_it_is_deleted: list[Callable[[], None]]) -> None:
    """By itself MLflow refuses; with us the model is gone, also if tags are written again and again."""
    while_it_is_deleted.append(_tagged(store, "first"))
    with pytest.raises(MlflowException, match="FOREIGN KEY constraint failed"):
        store.delete_registered_model("fare")
    deletions.try_again(SimpleNamespace(_get_model_registry_store=lambda: store))
    while_it_is_deleted += [_tagged(store, f"again {number}") for number in range(deletions.TRIES - 1)]
    store.delete_registered_model("fare")
    assert not while_it_is_deleted
    assert [it.name for it in store.search_registered_models()] == []


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
def test_another_refusal_is_told(store: Store, while_it_is_deleted: list[Callable[[], None]]) -> None:
    """A model that is not there is not asked for again, and tags without an end are told as MLflow tells them."""
    deletions.try_again(SimpleNamespace(_get_model_registry_store=lambda: store))
    with pytest.raises(MlflowException, match="Registered Model with name=other not found"):
        store.delete_registered_model("other")
    while_it_is_deleted += [_tagged(store, f"again {number}") for number in range(deletions.TRIES)]
    with pytest.raises(MlflowException, match="FOREIGN KEY constraint failed"):
        store.delete_registered_model("fare")
    assert not while_it_is_deleted


def test_the_handlers_have_such_a_store() -> None:
    """MLflow's private name for it."""
    assert callable(handlers._get_model_registry_store)
