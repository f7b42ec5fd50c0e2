"""What dies comes back, and what is away doesn't take the predictions with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import requests

from polling import until
from stack import MODEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow.entities.model_registry import ModelVersion

    from stack import Stack


def test_mlflow_away(stack: Stack, champion: Callable[[], ModelVersion], served_version: Callable[[], str]) -> None:
    """While MLflow is down, predictions go on, through several polls of the agent; afterwards all is as it was."""
    before = str(champion().version)
    stack.stop("mlflow-server")
    try:
        asked = iter(range(20))
        until("20 predictions", lambda: served_version() == before and next(asked, None) is None, timeout_s=30)
    finally:
        stack.start("mlflow-server")
    assert str(champion().version) == before
    assert served_version() == before


def test_torchserve_killed(stack: Stack, champion: Callable[[], ModelVersion], url: str) -> None:
    """Java dies: the service ends with it instead of lingering, comes back, and serves the champion again."""
    version = str(champion().version)
    stack.crash_torchserve()

    def serves() -> bool:
        answer = requests.post(url, data=b"", timeout=5)
        return answer.headers.get("X-Model-Version") == version

    until(f"{MODEL} version {version} serves again", serves, timeout_s=60)
