"""A replica that does without every clever piece, beside the one that has them all: it answers the same.

Tests of this module's imports that ask for `url` ask that replica.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
import requests
from signet_client.scenarios.runner import SCENARIOS
from test_predictions import test_form_field, test_mlflow_formats, test_sample  # noqa: F401 -- run here, too
from test_rejections import (  # noqa: F401 -- run here, too
    test_bad_requests_never_harm_their_neighbours,
    test_rejection,
    test_row_is_named,
)

from testing.numbered_model import NumberedModel
from testing.polling import until
from testing.ports import free_port
from testing.repository import MODEL, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embedded_stack import EmbeddedStack

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def plain(processes: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where it answers."""
    home = tmp_path_factory.mktemp("plain")
    addresses = {
        name: f"http://127.0.0.1:{free_port()}"
        for name in ("TS_INFERENCE_ADDRESS", "TS_METRICS_ADDRESS", "SIGNET_HEALTH_ADDRESS")
    }
    told = {"TS_CONFIG_FILE": str(ROOT / "config.properties"), "SIGNET_HOME": str(home), "SIGNET_PLAIN": "true"}
    log = home / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            ["signet-torchserve"],
            env={**processes.processes.env, **addresses, **told},
            cwd=home,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as replica,
    ):
        ready = f"{addresses['SIGNET_HEALTH_ADDRESS']}/ready"
        try:
            until(f"it is ready ({log})", lambda: requests.get(ready, timeout=10).ok or None, timeout_s=60)
            yield addresses["TS_INFERENCE_ADDRESS"]
        finally:
            replica.terminate()
            replica.wait(30)


@pytest.fixture
def url(plain: str) -> str:
    return f"{plain}/predictions/{MODEL}"


def test_torchserve_is_as_shipped(url: str) -> None:
    """TorchServe's own ways are back: a rejection closes the connection, and any method is taken."""
    refused = requests.post(url, data=b"{}", timeout=10)
    assert (refused.status_code, refused.headers["Connection"]) == (400, "close")
    assert requests.delete(url, timeout=10).status_code != 405


def test_every_scenario_holds(processes: EmbeddedStack, plain: str) -> None:
    """What is right and what is wrong is answered as the client's table says."""
    done = processes.client("scenarios", url=plain)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"All {len(SCENARIOS)} scenarios hold." in done.stdout


def test_a_rollout_harms_no_request(processes: EmbeddedStack, plain: str) -> None:
    """Two versions take turns under a load of valid and wrong requests; each is answered as its version says."""
    model = NumberedModel(processes.mlflow_url, plain, "plainly")
    try:
        first, second = model.log(), model.log()
        model.serve(first)
        with model.load() as load:
            for version in (second, first):
                model.serve(version)
        assert {it.version for it in load.exchanges} == {first, second}
        assert [str(it) for it in load.exchanges if not it.is_right] == []
    finally:
        model.client.delete_registered_model(model.name)
