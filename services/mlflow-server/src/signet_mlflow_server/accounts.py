"""The accounts of MLflow's own auth app: the stack's services, and the least that each of them may do.

People get an account from `admin`, and may read everything until they are granted more.
Source: https://mlflow.org/docs/latest/self-hosting/security/basic-http-auth/
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

    from signet_mlflow_server.settings import Settings

ADMIN = "admin"
# MLflow's experiment that is always there. Controllers find each other by its tags; the client uploads models to it.
_DEFAULT_EXPERIMENT = "0"
# Resource type, its name and the permission. EDIT on a registered model is enough to move its alias. Taking the alias
# away needs MANAGE, as deleting the model does.
GRANTS = {
    "trainer": (("experiment", "*", "EDIT"), ("registered_model", "*", "EDIT")),
    "controller": (("experiment", _DEFAULT_EXPERIMENT, "EDIT"), ("registered_model", "*", "EDIT")),
    "client": (("experiment", _DEFAULT_EXPERIMENT, "EDIT"), ("registered_model", "*", "MANAGE")),
}
# A password costs tens of milliseconds to check, by design. One process serves: what is changed here counts at once.
_CONFIG = """[mlflow]
default_permission = READ
database_uri = {database_uri}
auth_cache_ttl_seconds = 60
"""


def app(settings: Settings, file: Path) -> FastAPI:
    """MLflow's application with accounts, kept in the database beside everything else.

    Args:
        settings: say where the database is.
        file: JSON with the password of each account, by its name. It replaces any other password of the account.
    """
    passwords: dict[str, str] = json.loads(file.read_text("utf-8"))
    config = Path(tempfile.gettempdir(), "accounts.ini")
    config.write_text(_CONFIG.format(database_uri=settings.backend_store_uri), "utf-8")
    os.environ.update(
        {
            "MLFLOW_AUTH_CONFIG_PATH": str(config),
            "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN,
            "MLFLOW_AUTH_ADMIN_PASSWORD": passwords[ADMIN],
            # A page for which MLflow has no rule is refused to everybody.
            "MLFLOW_BASIC_AUTH_FAIL_CLOSED": "true",
            # The key signs the form that creates a user. Nothing needs it after this process has ended.
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(),
        }
    )
    # Imported this late because it reads its environment on import.
    from mlflow.server import auth  # noqa: PLC0415 -- as said above

    application: FastAPI = auth.create_app()
    for name, password in passwords.items():
        _keep(auth.store, name, password)
    return application


def _keep(store: Any, name: str, password: str) -> None:
    """Create the account, or set its password; then grant its rights, which somebody may have changed."""
    if not store.has_user(name):
        store.create_user(name, password, is_admin=name == ADMIN)
    elif not store.authenticate_user(name, password):
        store.update_user(name, password=password)
    for grant in GRANTS.get(name, ()):
        store.grant_user_permission(name, *grant)
