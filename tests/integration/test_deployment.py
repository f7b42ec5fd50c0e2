"""The registry is the control plane: moving the alias deploys, and nobody notices but by the version."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import requests

from stack import ALIAS, MODEL, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlflow import MlflowClient


@pytest.fixture
def other_version(registry: MlflowClient) -> Iterator[str]:
    """A second version that's as good as the champion: its copy. The alias is put back afterwards."""
    champion = registry.get_model_version_by_alias(MODEL, ALIAS).version
    yield str(registry.copy_model_version(f"models:/{MODEL}/{champion}", MODEL).version)
    registry.set_registered_model_alias(MODEL, ALIAS, champion)


def test_rollout_and_rollback_without_a_failed_request(
    registry: MlflowClient, url: str, other_version: str, wait_for_version: Callable[..., None]
) -> None:
    """The alias moves there and back under load, and no request fails.

    A single deployment is held to 10 s by test_training.py. Tests before this one have restarted MLflow, so the agent
    may still be waiting to ask it again, and the second rollout starts while the first retires its old version.
    """
    champion = str(registry.get_model_version_by_alias(MODEL, ALIAS).version)
    wait_for_version(champion)
    body = (SAMPLES / "sample.json").read_bytes()
    done, outcomes = threading.Event(), Counter[str]()

    def ask_on_and_on() -> None:
        while not done.is_set():
            try:
                answer = requests.put(url, data=body, timeout=10)
                outcomes[f"{answer.status_code} {answer.text[:200]}"] += 1
            except requests.RequestException as error:
                outcomes[repr(error)] += 1
            done.wait(0.01)  # a steady load, not all that the machine has: the new version's worker starts beside it

    threads = [threading.Thread(target=ask_on_and_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for version in (other_version, champion):
            registry.set_registered_model_alias(MODEL, ALIAS, version)
            wait_for_version(version, timeout_s=30)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert set(outcomes) == {"200 SETOSA"}, outcomes
    assert outcomes.total() > 20


def test_version_by_number(registry: MlflowClient, url: str, wait_for_version: Callable[[object], None]) -> None:
    """The champion's version can be asked for by its number, too, and it is that version which answers."""
    champion = registry.get_model_version_by_alias(MODEL, ALIAS).version
    wait_for_version(champion)
    answer = requests.put(f"{url}/{champion}", data=(SAMPLES / "sample.json").read_bytes(), timeout=10)
    assert (answer.status_code, answer.text, answer.headers["X-Model-Version"]) == (200, "SETOSA", str(champion))
