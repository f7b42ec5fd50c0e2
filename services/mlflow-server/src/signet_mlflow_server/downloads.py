"""A route for downloads that sends each piece of an artifact as soon as the S3 store has given it.

MLflow's own route fetches the whole artifact before it sends the first byte. So a client that waits ten seconds for an
answer never gets an artifact of some gigabytes.
"""

from __future__ import annotations

import json
import posixpath
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response, StreamingResponse
from mlflow.exceptions import MlflowException
from mlflow.server import artifact_router

from signet_mlflow_server.artifacts import PIECE_BYTES

if TYPE_CHECKING:
    from fastapi import FastAPI

# What MLflow's own route is made of, untyped and private.
_mlflow: Any = artifact_router
NEEDED = (
    "_get_workspace_scoped_path",
    "validate_path_is_safe",
    "_get_artifact_repo",
    "_guess_mime_type",
    "_content_disposition",
)


def stream(app: FastAPI) -> None:
    """Let the application stream what is downloaded, in place of MLflow's own route."""
    router = APIRouter()
    for api in ("api", "ajax-api"):
        router.get(f"/{api}/2.0/mlflow-artifacts/artifacts/{{artifact_path:path}}")(_download)
    app.router.routes[:0] = router.routes


def _download(artifact_path: str) -> Response:
    try:
        path = _mlflow._get_workspace_scoped_path(_mlflow.validate_path_is_safe(artifact_path))  # noqa: SLF001 -- as MLflow's own route does
        size, pieces = _mlflow._get_artifact_repo().read(path)  # noqa: SLF001 -- as MLflow's own route does
    except MlflowException as error:
        told: Any = error  # its methods are untyped
        return JSONResponse(json.loads(told.serialize_as_json()), told.get_http_status_code())
    headers = {
        "Content-Type": _mlflow._guess_mime_type(path),  # noqa: SLF001 -- as MLflow's own route does
        "Content-Length": str(size),
        "Content-Disposition": _mlflow._content_disposition(posixpath.basename(path)),  # noqa: SLF001 -- as MLflow's own route does
        "X-Content-Type-Options": "nosniff",
    }
    if size > PIECE_BYTES:
        return StreamingResponse(pieces, headers=headers)
    return Response(b"".join(pieces), headers=headers)  # most files are as short; streaming takes two more threads
