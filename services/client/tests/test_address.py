"""`signet_client.address`."""

import pytest

from signet_client.address import without_credentials


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
