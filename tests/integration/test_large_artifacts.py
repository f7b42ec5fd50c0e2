"""Artifacts of any size pass through MLflow's server: its memory doesn't grow with them."""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from compose_stack import ComposeStack
    from mlflow import MlflowClient
    from stack import Stack

MIB = 1 << 20
SIZE = 384 * MIB
SPARE = SIZE // 2
"""Ten pieces of eight MiB are on their way to the store, or from it, and may lie in two buffers each."""


@contextmanager
def _bounded(stack: Stack) -> Iterator[None]:
    """Meanwhile the MLflow server's memory grows by no more than `SPARE`."""
    before = most = stack.memory("mlflow-server")
    over = threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.05):
            most = max(most, stack.memory("mlflow-server"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    print(f"\nMLflow's server grew from {before // MIB} to {most // MIB} MiB")
    assert most - before < SPARE


def _digest(answer: requests.Response) -> str:
    answer.raise_for_status()
    digest = hashlib.sha256()
    for piece in answer.iter_content(MIB):
        digest.update(piece)
    return digest.hexdigest()


def test_memory_does_not_grow_with_an_artifact(stack: Stack, registry: MlflowClient, tmp_path: Path) -> None:
    """Logged, downloaded by a client and by the UI's page, a large artifact is what it was and never in memory."""
    large = tmp_path / "large"
    digest = hashlib.sha256()
    with large.open("wb") as file:
        for _ in range(SIZE // MIB):
            piece = os.urandom(MIB)
            digest.update(piece)
            file.write(piece)
    run = registry.create_run("0").info
    with _bounded(stack):
        registry.log_artifact(run.run_id, str(large))
    path = f"{run.artifact_uri.removeprefix('mlflow-artifacts:/')}/large"
    pages = (f"api/2.0/mlflow-artifacts/artifacts/{path}", f"get-artifact?path=large&run_id={run.run_id}")
    for page in pages:
        with _bounded(stack), requests.get(f"{stack.mlflow_url}/{page}", stream=True, timeout=30) as answer:
            assert _digest(answer) == digest.hexdigest(), page
    registry.delete_run(run.run_id)


@pytest.mark.parametrize("path", ["0/none", "0"])
def test_an_artifact_that_is_none_is_a_404(stack: Stack, path: str) -> None:
    """A path that names nothing, or a folder, is told apart from a store that fails."""
    answer = requests.get(f"{stack.mlflow_url}/api/2.0/mlflow-artifacts/artifacts/{path}", timeout=30)
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert path in answer.json()["message"]


@pytest.mark.compose
def test_uploads_wait_on_disk(compose: ComposeStack) -> None:
    """The folder for what is on its way is a volume; a tmpfs would count into the server's memory."""
    code = "import tempfile, os; d = tempfile.gettempdir(); print(d, os.stat(d).st_dev != os.stat('/tmp').st_dev)"
    done = compose.python("mlflow-server", code)
    assert done.stdout.split() == ["/var/lib/mlflow-server", "True"], done.stderr
    mounts = {mount["Destination"]: mount["Type"] for mount in compose.inspect("mlflow-server")["Mounts"]}
    assert mounts["/var/lib/mlflow-server"] == "volume"
