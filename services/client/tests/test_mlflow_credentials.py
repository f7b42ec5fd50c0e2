"""What signs in at MLflow: addresses with and without a user, and files with passwords."""

from pathlib import Path

import pytest
from signet_client.mlflow_credentials import credentials_in_files, without_credentials


@pytest.mark.parametrize(
    ("given", "address", "user", "password"),
    [
        ("http://me:secret@host:5000", "http://host:5000", "me", "secret"),
        ("https://me:secret@host/mlflow/a@b", "https://host/mlflow/a@b", "me", "secret"),
        ("http://me%40home:s%2Fe%3Acret@[::1]:5000", "http://[::1]:5000", "me@home", "s/e:cret"),
        ("http://me:p@ss@host", "http://host", "me", "p@ss"),
        ("http://token@host", "http://host", "token", ""),
    ],
)
def test_credentials_go_where_mlflow_looks_for_them(given: str, address: str, user: str, password: str) -> None:
    """The address can be shown, and MLflow still signs in."""
    assert without_credentials(given) == (
        address,
        {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password},
    )


@pytest.mark.parametrize("address", ["http://host:5000", "http://host/a@b", "file:///tmp/a@b", "sqlite:///a:b@c", ""])
def test_an_address_without_them_stays_as_it_is(address: str) -> None:
    """An @ elsewhere is no sign of a user."""
    assert without_credentials(address) == (address, {})


def test_passwords_and_tokens_may_lie_in_files(tmp_path: Path) -> None:
    """A file holds the value, without the line's end; an empty file is none, a missing one an error."""
    (tmp_path / "password").write_text("s3cret: \u00e9\n", "utf-8")
    (tmp_path / "token").write_text("", "utf-8")
    files = {
        "MLFLOW_TRACKING_PASSWORD_FILE": str(tmp_path / "password"),
        "MLFLOW_TRACKING_TOKEN_FILE": str(tmp_path / "token"),
    }
    assert credentials_in_files(files) == {"MLFLOW_TRACKING_PASSWORD": "s3cret: \u00e9"}
    assert credentials_in_files({"MLFLOW_TRACKING_TOKEN_FILE": ""}) == {}
    with pytest.raises(FileNotFoundError):
        credentials_in_files({"MLFLOW_TRACKING_TOKEN_FILE": str(tmp_path / "missing")})
