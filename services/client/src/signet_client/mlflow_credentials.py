"""What signs in at MLflow: taken out of its address, so that no log and no message can hold it, or read from files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping


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


def credentials_in_files(environ: Mapping[str, str]) -> dict[str, str]:
    """Password and token from the files that MLFLOW_TRACKING_PASSWORD_FILE and MLFLOW_TRACKING_TOKEN_FILE name.

    They come as the variables from which MLflow takes them; an empty file holds none.

    Raises:
        OSError: a file cannot be read; its `filename` is the one.
    """
    found = {name: environ.get(f"{name}_FILE") for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")}
    read = {name: Path(file).read_text("utf-8").strip() for name, file in found.items() if file}
    return {name: value for name, value in read.items() if value}
