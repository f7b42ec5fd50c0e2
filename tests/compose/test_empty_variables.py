"""Compose hands an unset variable of `.env` to a container as an empty one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

MAIN = """
import os, sys
from {package}.__main__ import main
try:
    code = main()
except SystemExit as error:
    code = error.code
assert code == 2, code
assert os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT") in (None, "10")  # MLflow could not read an empty one
assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"
"""
WRONG = {"SIGNET_POLL_INTERVAL_S": "soon", "MLFLOW_PORT": "none", "SIGNET_URL": "ftp://x"}


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("signet_client", ["predict", "/dev/null"]),
        ("signet_mlflow_server", []),
        ("signet_torchserve", []),
        ("signet_trainer", ["--max_epochs", "many"]),
    ],
)
def test_an_empty_variable_is_not_set(package: str, arguments: list[str]) -> None:
    """Every service forgets empty variables before it or a library reads one."""
    pytest.importorskip(package)  # where torch is not in reach, the trainer is not installed
    environ = {**os.environ, **WRONG, "MLFLOW_HTTP_REQUEST_TIMEOUT": "", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    command = [sys.executable, "-c", MAIN.format(package=package), *arguments]
    subprocess.run(command, env=environ, check=True, capture_output=True, timeout=60)
