"""What a training leaves in MLflow."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml

from testing.repository import MODEL, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion
    from stack import Stack

COLUMNS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def run(registry: MlflowClient) -> Run:
    """The run of the first training, which had the defaults."""
    return registry.get_run(registry.get_model_version(MODEL, "1").run_id or "")


@pytest.fixture
def model_folder(registry: MlflowClient, tmp_path: Path) -> Path:  # noqa: ARG001 -- it sets the server's address
    """The first version's files, fetched through the tracking server."""
    import mlflow

    return Path(mlflow.artifacts.download_artifacts(f"models:/{MODEL}/1", dst_path=str(tmp_path)))


def test_params(run: Run) -> None:
    """The run holds the options it was started with."""
    params = run.data.params
    assert {"max_epochs", "lr", "batch_size", "seed"} <= params.keys()
    assert (params["max_epochs"], params["seed"]) == ("50", "42")


def test_metrics(registry: MlflowClient, run: Run) -> None:
    """Metrics were logged for each epoch, and the default training is at least 0.93 right on test rows."""
    for name in ("train_loss", "val_loss"):
        history = registry.get_metric_history(run.info.run_id, name)
        assert len({metric.step for metric in history}) == 50, f"{name}: {len(history)} values"
    assert run.data.metrics["test_acc"] >= 0.93


def test_dataset(run: Run) -> None:
    """The run names its dataset."""
    assert run.inputs is not None
    assert run.inputs.dataset_inputs, "a dataset is logged"
    assert "iris" in run.inputs.dataset_inputs[0].dataset.name.lower()


def test_pictures(registry: MlflowClient, run: Run, tmp_path: Path) -> None:
    """Learning curves and confusion matrix are pictures that a browser shows."""
    pictures = [path for path in _files(registry, run.info.run_id) if path.endswith(".png")]
    assert len(pictures) == 2, pictures
    for path in pictures:
        data = Path(registry.download_artifacts(run.info.run_id, path, str(tmp_path))).read_bytes()
        assert data.startswith(PNG)
        assert len(data) > 5000


def _files(registry: MlflowClient, run_id: str, path: str | None = None) -> list[str]:
    found = []
    for entry in registry.list_artifacts(run_id, path):
        found += _files(registry, run_id, entry.path) if entry.is_dir else [entry.path]
    return found


def test_git_commit(stack: Stack, run: Run) -> None:
    """The run knows the commit of the code that trained it."""
    if stack.commit is None:
        pytest.skip("this tree is no git clone, so there is no commit to know")
    commit = run.data.tags.get("mlflow.source.git.commit", "")
    # A commit made while the stack came up is right as well.
    check = ["git", "merge-base", "--is-ancestor", stack.commit, commit]
    assert subprocess.run(check, cwd=ROOT, check=False).returncode == 0, f"{commit!r} is not {stack.commit} or later"


def test_model_holds_no_pickle(model_folder: Path) -> None:
    """The model is a pt2 program; no file of it is a pickle."""
    files = [path.relative_to(model_folder) for path in model_folder.rglob("*") if path.is_file()]
    assert [path.name for path in files if path.suffix == ".pt2"] == ["model.pt2"]
    assert not [path for path in files if path.suffix in {".pkl", ".pickle", ".pth", ".pt", ".ckpt", ".bin"}]
    for path in files:
        start = (model_folder / path).read_bytes()[:2]
        assert start[:1] != b"\x80", f"{path} begins like a pickle"


def test_signature(model_folder: Path) -> None:
    """Four double columns in, one long out, as in the seed."""
    signature = yaml.safe_load((model_folder / "MLmodel").read_text("utf-8"))["signature"]
    inputs = json.loads(signature["inputs"])
    assert [(column["name"], column["type"]) for column in inputs] == [(name, "double") for name in COLUMNS]
    assert [column["type"] for column in json.loads(signature["outputs"])] == ["long"]


def test_input_example(model_folder: Path) -> None:
    """The model carries an example of its input."""
    document = yaml.safe_load((model_folder / "MLmodel").read_text("utf-8"))
    assert document["saved_input_example_info"]
    assert (model_folder / document["saved_input_example_info"]["artifact_path"]).is_file()


def test_labels(model_folder: Path) -> None:
    """The classes have the seed's names."""
    labels = json.loads((model_folder / "extra_files" / "index_to_name.json").read_text("utf-8"))
    assert labels == {"0": "SETOSA", "1": "VERSICOLOR", "2": "VIRGINICA"}


def test_golden_predictions(champion: Callable[[], ModelVersion], tmp_path: Path, url: str) -> None:
    """The champion answers its own golden request over HTTP with its golden response."""
    import mlflow

    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{MODEL}/{champion().version}", dst_path=str(tmp_path)))
    golden: dict[str, Any] = json.loads((folder / "extra_files" / "golden.json").read_text("utf-8"))
    assert len(golden["request"]["dataframe_split"]["data"]) >= 3
    answer = requests.post(url, json=golden["request"], timeout=10)
    assert (answer.status_code, answer.json()) == (200, golden["response"])


def test_version_tags(champion: Callable[[], ModelVersion]) -> None:
    """The version carries what the gate compares, and what the controller made of it."""
    tags = champion().tags
    assert 0.9 <= float(tags["test_acc"]) <= 1
    assert tags["serving.status"], "the controller says how it went"


def test_artifacts_come_through_the_server(run: Run) -> None:
    """Who logs and loads artifacts needs no S3 key: their address is the tracking server's own."""
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")


def test_nobody_is_sent_to_the_store(stack: Stack) -> None:
    """MLflow offers no presigned addresses of the S3 store; only the server can reach it, and clients would hang."""
    info = requests.get(f"{stack.mlflow_url}/api/3.0/mlflow/server-info", timeout=10).json()
    assert info["multipart_downloads_enabled"] is False
    assert info["multipart_uploads_enabled"] is False
