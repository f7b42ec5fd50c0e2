"""How MLflow's server deletes a registered model to which a replica is writing a tag: it tries again.

MLflow reads the model with all its tags, and then deletes these and the model. If a tag is written in between, the
database refuses to delete the model, and the client gets a 400 with SQL in it. Replicas write tags at any time.
"""

from __future__ import annotations

from typing import Any

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import IntegrityError

TRIES = 10


def try_again(handlers: Any) -> None:
    """Make the store of MLflow's handlers delete a registered model again, if the database refuses it."""
    store = handlers._get_model_registry_store()  # noqa: SLF001 -- a test pins it
    delete = store.delete_registered_model

    def delete_registered_model(name: str) -> None:
        for tries_left in reversed(range(TRIES)):
            try:
                delete(name)
            except MlflowException as error:
                if not tries_left or not isinstance(error.__cause__, IntegrityError):
                    raise
            else:
                return

    store.delete_registered_model = delete_registered_model
