"""signet_client.settings"""

from __future__ import annotations

import pytest

from signet_client.errors import InvalidSetting
from signet_client.settings import Settings


def test_defaults() -> None:
    """Without any variable the client asks the port that `docker compose up` publishes."""
    assert Settings.from_environ({}) == Settings(url="http://127.0.0.1:8080", timeout_s=30.0)


def test_empty_value_is_the_default() -> None:
    """Compose passes an unset variable on as an empty string; that is no address."""
    assert Settings.from_environ({"SIGNET_URL": "", "SIGNET_TIMEOUT_S": ""}) == Settings()


def test_values_are_taken() -> None:
    """Both variables are read, and a trailing slash is dropped."""
    environ = {"SIGNET_URL": "http://torchserve:8080/", "SIGNET_TIMEOUT_S": "2.5"}
    assert Settings.from_environ(environ) == Settings("http://torchserve:8080", 2.5)


@pytest.mark.parametrize(
    "value",
    ["torchserve:8080", "ftp://h", "http://", "http://h:port", "http://h:0", "http://[::1", "http://h/x", "http://h?x"],
)
def test_unusable_address(value: str) -> None:
    """What is no server's address is refused by name, value and expectation."""
    with pytest.raises(InvalidSetting) as caught:
        Settings.from_environ({"SIGNET_URL": value})
    expected = "Expected http://HOST:PORT or https://HOST:PORT."
    assert str(caught.value) == f"Setting SIGNET_URL has value {value!r}. {expected}"


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "inf"])
def test_unusable_timeout(value: str) -> None:
    """A timeout is a positive, finite number."""
    with pytest.raises(InvalidSetting, match=r"Setting SIGNET_TIMEOUT_S has value .*a number of seconds above 0"):
        Settings.from_environ({"SIGNET_TIMEOUT_S": value})
