"""What the environment may say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from signet_mlflow_server.settings import OWN_HOSTS, InvalidSetting, Settings


def test_defaults_hold_no_secret_and_listen_on_loopback() -> None:
    """With an empty environment libpq and boto bring the secrets, and nobody outside reaches the server."""
    settings = Settings.from_environment({})
    assert settings.host == "127.0.0.1"
    assert settings.port == 5000
    assert settings.backend_store_uri == "postgresql+psycopg2://"
    assert settings.artifacts_destination == "s3://mlflow"


def test_every_field_can_be_set() -> None:
    """Each setting has its variable, and each value arrives."""
    env = {
        "MLFLOW_HOST": "0.0.0.0",  # noqa: S104 -- a value that is read, not listened on
        "MLFLOW_PORT": "5055",
        "MLFLOW_BACKEND_STORE_URI": "sqlite:///x.db",
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://other",
        "MLFLOW_SERVER_ALLOWED_HOSTS": "example.org",
        "SIGNET_ACCOUNTS_FILE": __file__,
        "SIGNET_STREAMING": "false",
    }
    hosts = f"{OWN_HOSTS},example.org"
    assert dataclasses.astuple(Settings.from_environment(env)) == (
        env["MLFLOW_HOST"],
        5055,
        *list(env.values())[2:4],
        hosts,
        Path(__file__),
        False,
    )


def test_accounts_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    """A server whose accounts are missing must not come up without them."""
    with pytest.raises(
        InvalidSetting, match=r"SIGNET_ACCOUNTS_FILE has value '.*missing'. Expected a file that can be read"
    ):
        Settings.from_environment({"SIGNET_ACCOUNTS_FILE": str(tmp_path / "missing")})


def test_empty_value_counts_as_unset() -> None:
    """`MLFLOW_PORT=` in a .env file means the default."""
    names = ("HOST", "PORT", "BACKEND_STORE_URI", "ARTIFACTS_DESTINATION", "SERVER_ALLOWED_HOSTS")
    assert Settings.from_environment({f"MLFLOW_{name}": "" for name in names}) == Settings()


@pytest.mark.parametrize(
    ("env", "is_streaming"),
    [
        ({}, True),
        ({"SIGNET_STREAMING": "", "SIGNET_PLAIN": ""}, True),
        ({"SIGNET_STREAMING": "false"}, False),
        ({"SIGNET_PLAIN": "true"}, False),
        ({"SIGNET_PLAIN": "true", "SIGNET_STREAMING": "true"}, False),
    ],
)
def test_streaming_can_be_left_out(env: dict[str, str], is_streaming: bool) -> None:
    """By its own setting, and by the one that leaves out all that is clever."""
    assert Settings.from_environment(env).is_streaming == is_streaming


@pytest.mark.parametrize("name", ["SIGNET_STREAMING", "SIGNET_PLAIN"])
def test_neither_yes_nor_no_is_refused(name: str) -> None:
    """The line names variable, value and what was expected."""
    with pytest.raises(InvalidSetting, match=rf"Setting {name} has value 'no'\. Expected true or false\."):
        Settings.from_environment({name: "no"})


@pytest.mark.parametrize("value", ["http", "0", "65536", "-1", "5000 ", "\u0665"])
def test_bad_port_is_named_with_its_value(value: str) -> None:
    """A port that is none is refused in one line that names variable, value and what was expected."""
    with pytest.raises(InvalidSetting, match=r"Setting MLFLOW_PORT has value '.*'\. Expected a port from 1 to 65535\."):
        Settings.from_environment({"MLFLOW_PORT": value})
