from __future__ import annotations

import pytest
from signet_client.errors import InvalidSetting
from signet_client.settings import Settings


def test_defaults() -> None:
    """Without any variable the client asks the ports that `docker compose up` publishes."""
    assert Settings.from_environment({}) == Settings(
        "http://127.0.0.1:8080", 100.0, "http://127.0.0.1:5000", "champion"
    )


def test_empty_value_is_the_default() -> None:
    """Compose passes an unset variable on as an empty string; that is no address."""
    names = ("SIGNET_URL", "SIGNET_TIMEOUT_S", "MLFLOW_TRACKING_URI", "SIGNET_ALIAS")
    assert Settings.from_environment(dict.fromkeys(names, "")) == Settings()


def test_values_are_taken() -> None:
    """Every variable is read, and a trailing slash of the server's address is dropped."""
    environ = {
        "SIGNET_URL": "http://torchserve:8080/",
        "SIGNET_TIMEOUT_S": "2.5",
        "MLFLOW_TRACKING_URI": "http://mlflow-server:5000",
        "SIGNET_ALIAS": "live",
    }
    assert Settings.from_environment(environ) == Settings(
        "http://torchserve:8080", 2.5, "http://mlflow-server:5000", "live"
    )


@pytest.mark.parametrize(
    "value",
    ["torchserve:8080", "ftp://h", "http://", "http://h:port", "http://h:0", "http://[::1", "http://h/x", "http://h?x"],
)
def test_unusable_address(value: str) -> None:
    """What is no server's address is refused by name, value and expectation."""
    with pytest.raises(InvalidSetting) as caught:
        Settings.from_environment({"SIGNET_URL": value})
    expected = "Expected http://HOST:PORT or https://HOST:PORT."
    assert str(caught.value) == f"Setting SIGNET_URL has value {value!r}. {expected}"


def test_no_password_is_shown() -> None:
    """User and password of the server's address are kept apart, also in what is said of a wrong one."""
    settings = Settings.from_environment({"SIGNET_URL": "http://me:secret@host:8080"})
    assert (settings.url, settings.url_credentials) == ("http://host:8080", ("me", "secret"))
    assert "secret" not in repr(settings)
    with pytest.raises(InvalidSetting) as caught:
        Settings.from_environment({"SIGNET_URL": "http://me:secret@host/path"})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "inf"])
def test_unusable_timeout(value: str) -> None:
    """A timeout is a positive, finite number."""
    with pytest.raises(InvalidSetting, match=r"Setting SIGNET_TIMEOUT_S has value .*a number of seconds above 0"):
        Settings.from_environment({"SIGNET_TIMEOUT_S": value})
