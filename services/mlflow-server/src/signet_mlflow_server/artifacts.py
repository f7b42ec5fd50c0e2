"""MLflow's S3 repository without presigned URLs: all artifacts go through the server.

MLflow 3.17 offers clients presigned URLs of any S3 store, and clients use them unasked. Such a URL names the store as
the server knows it (http://minio:9000). Neither a container of another network nor a person's machine reaches that
address: every download would end in a timeout.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError
from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

# The URI scheme under which pyproject.toml registers the class below, as MLflow's plugins are.
# https://mlflow.org/docs/latest/ml/plugins/
SCHEME = "proxied-s3"

PIECE_BYTES = 1 << 20


class ProxiedS3ArtifactRepository(ArtifactRepository):
    """MLflow's S3 repository, but no subclass of it: MLflow would offer clients transfers that bypass the server."""

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

    def read(self, path: str) -> tuple[int, Iterator[bytes]]:
        """Size of an artifact in bytes, and its content in pieces.

        Raises:
            MlflowException: there is none at this path.
        """
        bucket, root = self._s3.parse_s3_compliant_uri(self._s3.artifact_uri)
        try:
            found = self._s3._get_s3_client().get_object(Bucket=bucket, Key=posixpath.join(root, path))  # noqa: SLF001 -- as below
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            raise MlflowException(f"No artifact at '{path}'.", RESOURCE_DOES_NOT_EXIST) from error
        return found["ContentLength"], found["Body"].iter_chunks(PIECE_BYTES)

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        self._s3._download_file(remote_file_path, local_path)  # noqa: SLF001 -- what MLflow's plugins must implement
