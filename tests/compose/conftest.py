"""Compose's own reading of our files, which needs its command but no running engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from testing.repository import ROOT

Configuration = dict[str, Any]
# Without an MLflow server the serving half is none; the whole stack has its own.
ELSEWHERE = {"MLFLOW_TRACKING_URI": "https://ml.example.org/mlflow"}


@pytest.fixture(scope="session")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Configuration]:
    """Return a function that merges Compose files as `docker compose config` does, without any .env."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("needs the commands docker and docker compose; the engine need not run")
    empty = tmp_path_factory.mktemp("compose") / "empty.env"
    empty.touch()

    @cache
    def read(*files: str, **env: str) -> Configuration:
        options = (file if file.startswith("--") else f"--file={file}" for file in files)
        command = [docker, "compose", "--env-file", str(empty), *options]
        done = subprocess.run(
            [*command, "config", "--format", "json"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **ELSEWHERE, **env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        document: Configuration = json.loads(done.stdout)
        return document

    return read
