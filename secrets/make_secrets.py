# noqa: INP001 -- a script, no package
"""Makes the stack's passwords: random at the first start, the .env file's where it sets them, else those of before.

Each folder below `/secrets`, or below the folder that is named, is a volume that one service reads. `docker compose up`
runs this before anything else. With the argument `accounts` it makes those of MLflow's accounts, too. With `serving` it
makes none, and hands on what .env says to sign in with at an MLflow server elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# What S3 allows for a secret key; PostgreSQL would take more.
SHORTEST, LONGEST = 8, 40
READ_BY_GROUP = 0o440
# libpq ignores a password file that anyone but its owner can read.
READ_BY_OWNER = 0o400


class UnusablePassword(ValueError):
    """A password in .env that one of the servers could not take."""

    def __init__(self, password: Password, problem: str) -> None:
        # The value stays out of the message, and so out of the log.
        expected = f"{password.shortest} to {LONGEST} printable ASCII characters, no spaces"
        super().__init__(f"{password.variable} in .env {problem}. Expected: {expected}.")


@dataclass(frozen=True, slots=True)
class Password:
    """A password, the file that holds it and the variable that sets it, if one does."""

    file: str
    variable: str = ""
    shortest: int = SHORTEST

    def value(self, root: Path, env: Mapping[str, str]) -> str:
        """Return what .env says, else what is there already, else something random.

        Raises:
            UnusablePassword: .env says something that a server would refuse.
        """
        if chosen := env.get(self.variable, ""):
            if not self.shortest <= len(chosen) <= LONGEST:
                raise UnusablePassword(self, f"has {len(chosen)} characters")
            if not all("!" <= character <= "~" for character in chosen):
                raise UnusablePassword(self, "has a character that not every server takes")
            return chosen
        path = root / self.file
        return path.read_text() if path.exists() else secrets.token_urlsafe(24)


# Lets postgres-setup in; set once, when the database is made.
SUPERUSER = Password("postgres/superuser_password")
DATABASE = Password("postgres/mlflow_password", "POSTGRES_PASSWORD")
STORE_ROOT = Password("minio/root_password", "MINIO_ROOT_PASSWORD")
STORE_KEY = Password("minio/mlflow_secret_key", "S3_SECRET_KEY")
# MLflow's own accounts take nothing shorter.
ADMIN = Password("mlflow-server/admin_password", "MLFLOW_ADMIN_PASSWORD", 12)
ACCOUNTS = {
    "trainer": Password("trainer/mlflow_password"),
    "controller": Password("torchserve/mlflow_password"),
    "client": Password("client/mlflow_password"),
}


def make(root: Path, env: Mapping[str, str]) -> None:
    """Write all files below `root`; all passwords are checked before the first is written."""
    values = {password: password.value(root, env) for password in (SUPERUSER, DATABASE, STORE_ROOT, STORE_KEY)}
    for password, value in values.items():
        write(root / password.file, value, READ_BY_GROUP)
    escaped = values[DATABASE].replace("\\", r"\\").replace(":", r"\:")
    write(root / "mlflow-server/pgpass", f"*:*:*:*:{escaped}\n", READ_BY_OWNER)
    # One's own S3 store has a key of its own.
    key, secret = env.get("AWS_ACCESS_KEY_ID") or "mlflow", env.get("AWS_SECRET_ACCESS_KEY") or values[STORE_KEY]
    credentials = f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
    write(root / "mlflow-server/aws_credentials", credentials, READ_BY_OWNER)


def make_accounts(root: Path, env: Mapping[str, str]) -> None:
    """Write each account's password for who signs in with it, and all of them for the MLflow server."""
    values = {name: password.value(root, env) for name, password in ACCOUNTS.items()}
    for name, value in values.items():
        write(root / ACCOUNTS[name].file, value, READ_BY_GROUP)
    values["admin"] = ADMIN.value(root, env)
    write(root / ADMIN.file, values["admin"], READ_BY_OWNER)
    write(root / "mlflow-server/accounts.json", json.dumps(values), READ_BY_OWNER)


def hand_on(root: Path, env: Mapping[str, str]) -> None:
    """Write what signs in elsewhere, as .env has it: of any length, and an empty file where .env has nothing."""
    for reader in ("torchserve", "client"):
        write(root / reader / "mlflow_password", env.get("MLFLOW_TRACKING_PASSWORD", ""), READ_BY_GROUP)
        write(root / reader / "mlflow_token", env.get("MLFLOW_TRACKING_TOKEN", ""), READ_BY_GROUP)
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    lines = [f"{name.lower()} = {env[name]}\n" for name in keys if env.get(name)]
    write(root / "torchserve/aws_credentials", "".join(["[default]\n", *lines] if lines else []), READ_BY_GROUP)


def write(path: Path, content: str, mode: int) -> None:
    """Replace the file in one step; one that holds `content` already is left alone."""
    if path.exists() and path.read_text() == content:
        return
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(content)
    new.replace(path)


def main() -> int:
    """Make them; 2 says that .env has one that cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["both", "accounts", "serving"], default="both")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("/secrets"))
    arguments = parser.parse_args()
    os.umask(0o027)
    try:
        (hand_on if arguments.what == "serving" else make)(arguments.folder, os.environ)
        if arguments.what == "accounts":
            make_accounts(arguments.folder, os.environ)
    except UnusablePassword as error:
        print(error, file=sys.stderr)  # noqa: T201 -- a command's output
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
