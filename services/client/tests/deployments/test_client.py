"""tests/integration/test_deployments_plugin.py proves the rest against real servers."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import pytest
from mlflow.deployments import get_deploy_client, interface
from mlflow.exceptions import MlflowException
from signet_client.deployments import TorchServeClient, model_uris, run_local, target_help

from testing.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _own_address(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test sees which MLflow server another one has used."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    mlflow.set_tracking_uri(None)
    yield
    mlflow.set_tracking_uri(None)


@pytest.mark.parametrize("target", ["torchserve", "torchserve:/http://127.0.0.1:9", "torchserve:/https://host"])
def test_entry_point(target: str) -> None:
    """MLflow finds the plugin by its name, with and without an address."""
    client = get_deploy_client(target)
    assert isinstance(client, TorchServeClient)
    assert interface._target_help(target) == target_help()


@pytest.mark.parametrize("target", ["torchserve:/host", "torchserve:/ftp://host", "torchserve:/http://host/path"])
def test_wrong_target(target: str) -> None:
    """What is no address is refused with what would be one."""
    with pytest.raises(MlflowException, match=r"Expected http://HOST:PORT or https://HOST:PORT\.$") as caught:
        get_deploy_client(target)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize(
    "word", ["batch_size", "max_batch_delay", "workers", "timeout_s", "wait=false", "models:/", "s3://", "runs:/"]
)
def test_help(word: str) -> None:
    """The help names every config key and every kind of model."""
    assert word in target_help()


def test_a_registry_elsewhere_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another project has left in MLFLOW_REGISTRY_URI is not obeyed by half, and no password is shown."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@ours:5000")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://me:secret@theirs:5000")
    with pytest.raises(
        MlflowException, match=r"set to http://theirs:5000 \(MLFLOW_REGISTRY_URI\).*http://ours:5000"
    ) as caught:
        get_deploy_client("torchserve")
    assert "secret" not in str(caught.value)


def test_an_address_without_a_scheme_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow would take it for a folder."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "localhost:5000")
    with pytest.raises(MlflowException, match=r"Expected a scheme, too, such as http://localhost:5000\.$"):
        get_deploy_client("torchserve")


def test_no_password_is_shown(unused_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong at an address with a password, its message has none."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", unused_url.replace("//", "//me:secret@"))
    client = get_deploy_client("torchserve")
    with pytest.raises(MlflowException, match=f"^No answer from {unused_url}: ") as caught:
        client.list_deployments()
    error: BaseException | None = caught.value
    while error is not None:
        assert "secret" not in str(error)
        error = error.__cause__ or error.__context__


def test_a_file_is_no_model(tmp_path: Path) -> None:
    """The folder around it is what is meant."""
    path = tmp_path / "model.pt2"
    path.touch()
    with pytest.raises(
        MlflowException, match=r"is a file\. Expected the folder that mlflow\.pytorch\.save_model wrote"
    ):
        model_uris.fetched(str(path), tmp_path)


def test_run_local_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A taken port and missing settings of TorchServe are said before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("SIGNET_URL", url)
        monkeypatch.setenv("TS_CONFIG_FILE", str(ROOT / "config.properties"))
        with pytest.raises(MlflowException, match=f"^Nothing can listen at {url}: Address already in use"):
            run_local("name", str(tmp_path))
    monkeypatch.setenv("TS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(MlflowException, match=r"are no file\. Expected one there, or named by TS_CONFIG_FILE"):
        run_local("name", str(tmp_path))


def test_light() -> None:
    """The plugin can be imported where neither torch nor pandas nor numpy nor the rest of MLflow is installed."""
    absent = ("torch", "pandas", "numpy", "sqlalchemy", "flask", "boto3")
    code = f"import sys; sys.modules.update(dict.fromkeys({absent})); import signet_client.deployments"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
