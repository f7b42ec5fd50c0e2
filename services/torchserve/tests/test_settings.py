from __future__ import annotations

from pathlib import Path

import pytest
from signet_torchserve.settings import InvalidSetting, Settings
from signet_torchserve.switchable_pieces import PLAIN, Piece


@pytest.fixture
def config_file(tmp_path: Path) -> str:
    path = tmp_path / "config.properties"
    path.write_text("inference_address=http://127.0.0.1:8080\n")
    return str(path)


def test_defaults(config_file: str) -> None:
    """Only the config file must be there; the rest has defaults that suit the container."""
    settings = Settings.from_environment({"TS_CONFIG_FILE": config_file})
    assert settings == Settings(
        tracking_uri="http://127.0.0.1:5000",
        home=Path("/var/lib/signet"),
        config_file=Path(config_file),
        alias="champion",
        poll_interval_s=2.0,
        health_address="http://127.0.0.1:8083",
    )


def test_every_setting_is_read(config_file: str, tmp_path: Path) -> None:
    """Each variable reaches its setting."""
    settings = Settings.from_environment(
        {
            "TS_CONFIG_FILE": config_file,
            "MLFLOW_TRACKING_URI": "http://mlflow-server:5000",
            "SIGNET_HOME": str(tmp_path),
            "SIGNET_ALIAS": "live",
            "SIGNET_POLL_INTERVAL_S": "0.5",
            "SIGNET_HEALTH_ADDRESS": "http://0.0.0.0:9000",
            "SIGNET_PATCHES": "false",
        }
    )
    assert settings == Settings(
        "http://mlflow-server:5000",
        tmp_path,
        Path(config_file),
        "live",
        0.5,
        "http://0.0.0.0:9000",
        frozenset(Piece) - {Piece.PATCHES},
    )


def test_no_password_stays_in_the_address(config_file: str) -> None:
    """What is logged and told has none, and MLflow finds it where it looks for it."""
    settings = Settings.from_environment(
        {"TS_CONFIG_FILE": config_file, "MLFLOW_TRACKING_URI": "http://me:secret@host:5000"}
    )
    assert settings.tracking_uri == "http://host:5000"
    assert settings.credentials["MLFLOW_TRACKING_PASSWORD"] == "secret"  # noqa: S105 -- a test's
    assert "secret" not in repr(settings)


def test_an_empty_value_counts_as_unset(config_file: str) -> None:
    """`SIGNET_ALIAS=` in a .env file means the default."""
    names = ("MLFLOW_TRACKING_URI", "SIGNET_HOME", "SIGNET_ALIAS", "SIGNET_POLL_INTERVAL_S", "SIGNET_HEALTH_ADDRESS")
    empty = dict.fromkeys([*names, *Piece, PLAIN], "") | {"TS_CONFIG_FILE": config_file}
    assert Settings.from_environment(empty) == Settings.from_environment({"TS_CONFIG_FILE": config_file})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("TS_CONFIG_FILE", "/no/such/file", "a readable file"),
        ("MLFLOW_TRACKING_URI", "localhost:5000", "a scheme, too, such as http://localhost:5000"),
        (
            "MLFLOW_REGISTRY_URI",
            "http://other",
            "it unset: the registry is MLFLOW_TRACKING_URI's, http://127.0.0.1:5000",
        ),
        ("SIGNET_POLL_INTERVAL_S", "soon", "a number of seconds"),
        ("SIGNET_POLL_INTERVAL_S", "0", "between 0.1 and 3600 seconds"),
        ("SIGNET_POLL_INTERVAL_S", "-1", "between 0.1 and 3600 seconds"),
        ("SIGNET_POLL_INTERVAL_S", "nan", "between 0.1 and 3600 seconds"),
        ("SIGNET_POLL_INTERVAL_S", "inf", "between 0.1 and 3600 seconds"),
        *((name, "no", "true or false") for name in (*Piece, PLAIN)),
        ("SIGNET_HEALTH_ADDRESS", "8083", "an address such as 'http://127.0.0.1:8083'"),
        ("SIGNET_HEALTH_ADDRESS", "http://127.0.0.1:port", "an address such as 'http://127.0.0.1:8083'"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str, expected: str, config_file: str) -> None:
    """The message has the setting, its value and what was expected."""
    with pytest.raises(InvalidSetting) as caught:
        Settings.from_environment({"TS_CONFIG_FILE": config_file, name: value})
    assert str(caught.value) == f"Setting {name} has value {value!r}. Expected {expected}."
