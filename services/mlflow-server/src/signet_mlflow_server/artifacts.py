"""The S3 store as nobody but the MLflow server sees it.

MLflow 3.17 offers clients presigned URLs of any S3 store, and they take them without being asked. Such a URL names the
store as the server knows it (http://minio:9000), which neither a container of another network nor a person's machine
reaches: every download would end in a timeout. So this one offers none, and all artifacts go through the server.
"""

from __future__ import annotations

from typing import Any

from mlflow.entities import FileInfo
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

# The URI scheme under which pyproject.toml registers the class below, as MLflow's plugins are.
# https://mlflow.org/docs/latest/ml/plugins/
SCHEME = "proxied-s3"


class ProxiedS3ArtifactRepository(ArtifactRepository):
    """MLflow's S3 repository without what makes MLflow offer multipart uploads and downloads past the server."""

    def __init__(self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        super().__init__(artifact_uri, tracking_uri, registry_uri)
        uri = artifact_uri.replace(f"{SCHEME}://", "s3://", 1)
        # Its methods are untyped.
        self._s3: Any = S3ArtifactRepository(uri, tracking_uri=tracking_uri, registry_uri=registry_uri)

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        self._s3.log_artifact(local_file, artifact_path)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        self._s3.log_artifacts(local_dir, artifact_path)

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        files: list[FileInfo] = self._s3.list_artifacts(path)
        return files

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        self._s3.delete_artifacts(artifact_path)

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        self._s3._download_file(remote_file_path, local_path)  # noqa: SLF001 - what MLflow's plugins must implement
