"""Runs MLflow's server in one process: brings the schema up to date, then serves.

`mlflow server` starts a second process that serves, so that MLflow is imported twice. On two cores it serves an empty
database after 8.2 s and a migrated one after 7.7 s; this process takes 6.0 s and 3.9 s. It also holds 220 MB more, and
exits with 0 when the serving process has died. The environment that it gives its second process is set here instead.
"""

from __future__ import annotations

import logging
import os
import uuid
from typing import TYPE_CHECKING, Any

import anyio
import mlflow.db
import uvicorn

from signet_mlflow_server import accounts, deletions, prompt_check, scratch
from signet_mlflow_server.changes import Changes

if TYPE_CHECKING:
    from fastapi import FastAPI

    from signet_mlflow_server.settings import Settings

# The root that clients log artifacts to; the server maps it to the artifacts' destination.
PROXIED_ARTIFACT_ROOT = "mlflow-artifacts:/"

logger = logging.getLogger(__name__)

_QUEUED = 2  # pieces of an answer


def migrate(settings: Settings) -> None:
    """Create the schema in an empty database, or upgrade it."""
    mlflow.db.commands.main(["upgrade", settings.backend_store_uri], standalone_mode=False)


def server_env(settings: Settings) -> dict[str, str]:
    """Return the environment that MLflow's web application reads when it is imported.

    The names with a leading underscore are private to MLflow; a test compares them with what `mlflow server` sets. Its
    constants for them cannot be used: importing those imports the application.
    """
    return {
        "_MLFLOW_SERVER_FILE_STORE": settings.backend_store_uri,
        "_MLFLOW_SERVER_REGISTRY_STORE": settings.backend_store_uri,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": PROXIED_ARTIFACT_ROOT,
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": proxied(settings.artifacts_destination),
        # Both keep stored custom scorer code from ever running in the server.
        "_MLFLOW_SERVER_BOOT_ID": uuid.uuid4().hex,
        "_MLFLOW_IN_JOB_EXECUTOR": "false",
        "_MLFLOW_SGI_NAME": "uvicorn",
        # From 3.18 on.
        "_MLFLOW_SERVER_TLS_LISTENER": "false",
        "MLFLOW_SERVER_ALLOWED_HOSTS": settings.allowed_hosts,
        # Jobs rate LLM traces; they would bring a queue and its worker processes.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def proxied(destination: str) -> str:
    """Return the destination that keeps an S3 store to the server; see `artifacts`. Others stay as they are."""
    return destination.replace("s3://", "proxied-s3://", 1) if destination.startswith("s3://") else destination


def serve(settings: Settings) -> None:
    """Serve until a signal ends the process. The stores are opened first, so that a wrong one ends it at once."""
    os.environ.update(server_env(settings))
    scratch.begin()
    # Imported this late because the application reads its environment on import.
    from mlflow.server import fastapi_app, handlers  # noqa: PLC0415 -- as said above

    handlers.initialize_backend_stores(settings.backend_store_uri, settings.backend_store_uri, PROXIED_ARTIFACT_ROOT)
    prompt_check.read_one_tag(handlers)
    deletions.try_again(handlers)
    app = accounts.app(settings, settings.accounts_file) if settings.accounts_file else fastapi_app.app
    if settings.is_streaming:
        _stream(settings, fastapi_app, app)
    # No access log: health checks and the serving controllers' polls would be nearly all of it.
    uvicorn.run(Changes(app), host=settings.host, port=settings.port, access_log=False)


def _stream(settings: Settings, fastapi_app: Any, app: FastAPI) -> None:
    """Send artifacts piece by piece, if this MLflow has the private names that this needs; else its own routes stay."""
    from mlflow.server import artifact_router  # noqa: PLC0415 -- as in `serve`

    from signet_mlflow_server import downloads  # noqa: PLC0415 -- as in `serve`

    needed = [(artifact_router, downloads.NEEDED), (fastapi_app, ("_EfficientWSGIResponder",))]
    if missing := [name for module, names in needed for name in names if not hasattr(module, name)]:
        logger.warning(
            "SIGNET_STREAMING is off: it was written for MLflow 3.17, and MLflow %s lacks %s.",
            mlflow.__version__,
            ", ".join(missing),
        )
        return
    if proxied(settings.artifacts_destination) != settings.artifacts_destination:
        downloads.stream(app)
    _pace(fastapi_app)


def _pace(fastapi_app: Any) -> None:
    """Let MLflow's older pages, such as artifacts in its UI, produce an answer no faster than it is sent.

    By itself the bridge to these pages queues a whole answer in memory. Its names are private; a test counts what is
    queued.
    """

    class Paced(fastapi_app._EfficientWSGIResponder):  # type: ignore[misc]  # noqa: SLF001 -- a test pins it, and MLflow types it in part
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.stream_send, self.stream_receive = anyio.create_memory_object_stream[Any](_QUEUED)

    fastapi_app._EfficientWSGIResponder = Paced  # noqa: SLF001 -- as above
