"""Artifacts go through the server, whatever MLflow could do instead."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own, as in test_server.py
    from mlflow.server import handlers
    from signet_mlflow_server.artifacts import SCHEME, ProxiedS3ArtifactRepository
    from signet_mlflow_server.server import proxied

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        ("s3://mlflow", f"{SCHEME}://mlflow"),
        ("s3://mlflow/some/path", f"{SCHEME}://mlflow/some/path"),
        ("/data/s3://odd", "/data/s3://odd"),
        ("gs://mlflow", "gs://mlflow"),
    ],
)
def test_s3_is_kept_to_the_server(destination: str, expected: str) -> None:
    """An S3 destination is served without presigned URLs; any other is MLflow's business."""
    assert proxied(destination) == expected


def test_server_offers_nothing_past_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an S3 store MLflow advertises neither multipart uploads nor downloads, which clients would take."""
    monkeypatch.setenv("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", proxied("s3://mlflow"))
    monkeypatch.setattr(handlers, "_artifact_repo", None)
    repository = handlers._get_artifact_repo_mlflow_artifacts()
    assert isinstance(repository, ProxiedS3ArtifactRepository)
    for validate in (
        handlers._validate_support_multipart_upload,
        handlers._validate_support_multipart_download,
        handlers._validate_support_presigned_upload,
        handlers._validate_support_presigned_download,
    ):
        with pytest.raises(handlers.MlflowException):
            validate(repository)


def test_calls_reach_the_s3_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the server asks of its repository is asked of MLflow's own, with the S3 address."""
    repository = ProxiedS3ArtifactRepository(f"{SCHEME}://mlflow/root")
    assert repository._s3.artifact_uri == "s3://mlflow/root"
    asked: list[tuple[object, ...]] = []
    for name in ("log_artifact", "log_artifacts", "list_artifacts", "delete_artifacts", "_download_file"):
        monkeypatch.setattr(repository._s3, name, lambda *args, name=name: asked.append((name, *args)))
    local = str(tmp_path / "file")
    repository.log_artifact(local, "a")
    repository.log_artifacts(local, "b")
    repository.list_artifacts("c")
    repository.delete_artifacts("d")
    repository._download_file("e", local)
    assert asked == [
        ("log_artifact", local, "a"),
        ("log_artifacts", local, "b"),
        ("list_artifacts", "c"),
        ("delete_artifacts", "d"),
        ("_download_file", "e", local),
    ]
