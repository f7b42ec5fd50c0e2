from pathlib import Path

import pytest

from embedded import settings
from embedded.errors import InvalidSetting
from embedded.settings import Settings, clean_environment


@pytest.fixture(autouse=True)
def no_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository's root is an empty folder."""
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    for name in ("MLFLOW_PORT", "TORCHSERVE_PORT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / ".env"


def test_defaults() -> None:
    """MLflow's and TorchServe's own ports."""
    assert (Settings.from_environment().mlflow_port, Settings.from_environment().torchserve_port) == (5000, 8080)


def test_env_file_and_environment(no_env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.env` counts, as it does for Compose, and the environment wins."""
    no_env_file.write_text("MLFLOW_PORT=5001\nTORCHSERVE_PORT=8081\n", encoding="utf-8")
    monkeypatch.setenv("TORCHSERVE_PORT", "0")
    assert (Settings.from_environment().mlflow_port, Settings.from_environment().torchserve_port) == (5001, 0)


@pytest.mark.parametrize("value", ["http", "-1", "65536", "5000.0"])
def test_no_port(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable, the value and what was expected."""
    monkeypatch.setenv("MLFLOW_PORT", value)
    with pytest.raises(
        InvalidSetting, match=f"Setting MLFLOW_PORT has value '{value}'. Expected a port from 0 to 65535"
    ):
        Settings.from_environment()


@pytest.mark.parametrize("name", settings.HANDED_ON)
def test_a_setting_that_is_handed_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Docker, too, clever pieces can be left out."""
    monkeypatch.setenv(name, "false")
    assert clean_environment()[name] == "false"


def test_clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would steer the services elsewhere is left out; local addresses never go through a proxy."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.setenv("NO_PROXY", "intranet")
    env = clean_environment()
    assert "MLFLOW_TRACKING_URI" not in env
    assert "PGPASSWORD" not in env
    assert env["NO_PROXY"] == "intranet,127.0.0.1,localhost"
