"""An address without the user and password that may stand in it, so that no log and no message can hold them."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote


def without_credentials(address: str) -> tuple[str, Mapping[str, str]]:
    """The address, and its user and password as the variables from which MLflow takes them.

    `http://me:secret@host:5000` is `http://host:5000` with MLFLOW_TRACKING_USERNAME `me` and MLFLOW_TRACKING_PASSWORD
    `secret`; both are decoded.
    """
    scheme, separator, rest = address.partition("://")
    authority, slash, path = rest.partition("/")
    userinfo, at, host = authority.rpartition("@")
    if scheme not in {"http", "https"} or not at:
        return address, {}
    user, _, password = userinfo.partition(":")
    credentials = {"MLFLOW_TRACKING_USERNAME": unquote(user), "MLFLOW_TRACKING_PASSWORD": unquote(password)}
    return f"{scheme}{separator}{host}{slash}{path}", credentials
