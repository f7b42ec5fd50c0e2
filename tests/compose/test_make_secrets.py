"""The one-shot that makes passwords, on a folder instead of the volumes."""

from __future__ import annotations

import configparser
import importlib.util
import json
import re
import stat
import sys
from pathlib import Path
from types import ModuleType

import pytest

from testing.repository import ROOT

FILES = {
    "postgres/superuser_password": 0o440,
    "postgres/mlflow_password": 0o440,
    "minio/root_password": 0o440,
    "minio/mlflow_secret_key": 0o440,
    "mlflow-server/pgpass": 0o400,
    "mlflow-server/aws_credentials": 0o400,
}


@pytest.fixture(scope="module")
def make_secrets() -> ModuleType:
    """Load the script, which is no package."""
    spec = importlib.util.spec_from_file_location("make_secrets", ROOT / "secrets" / "make_secrets.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return what the image has at /secrets."""
    for folder in ("postgres", "minio", "mlflow-server"):
        (tmp_path / folder).mkdir()
    return tmp_path


def contents(root: Path) -> dict[str, str]:
    """Return every file's content."""
    return {file: (root / file).read_text() for file in FILES}


def test_first_start_makes_random_ones(
    make_secrets: ModuleType, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two machines have no password in common, and each is long and readable by its readers alone."""
    other = tmp_path_factory.mktemp("other")
    for folder in ("postgres", "minio", "mlflow-server"):
        (other / folder).mkdir()
    make_secrets.make(root, {})
    make_secrets.make(other, {})
    assert not set(contents(root).values()) & set(contents(other).values())
    for file, mode in FILES.items():
        assert stat.S_IMODE((root / file).stat().st_mode) == mode
    assert all(len((root / file).read_text()) >= 32 for file in FILES)


def test_later_starts_change_nothing(make_secrets: ModuleType, root: Path) -> None:
    """Neither a password nor a file's time changes while .env does not."""
    make_secrets.make(root, {"POSTGRES_PASSWORD": ""})
    before = contents(root), [(root / file).stat().st_mtime_ns for file in FILES]
    make_secrets.make(root, {})
    assert (contents(root), [(root / file).stat().st_mtime_ns for file in FILES]) == before


def test_env_wins_also_later(make_secrets: ModuleType, root: Path) -> None:
    """A value in .env replaces a random one in every file that holds it, and nothing else changes."""
    make_secrets.make(root, {})
    before = contents(root)
    make_secrets.make(root, {"POSTGRES_PASSWORD": "correct-horse"})
    after = contents(root)
    assert {file for file in FILES if before[file] != after[file]} == {
        "postgres/mlflow_password",
        "mlflow-server/pgpass",
    }
    assert after["mlflow-server/pgpass"] == "*:*:*:*:correct-horse\n"


@pytest.mark.parametrize(
    "password", [r"back\slash:colon", "%percent%(s)", "#hash;semicolon", "'\"quotes\"'", "=equals="]
)
def test_every_password_survives_its_file_format(make_secrets: ModuleType, root: Path, password: str) -> None:
    """What the libraries read out of the files is what .env says."""
    make_secrets.make(root, {"POSTGRES_PASSWORD": password, "S3_SECRET_KEY": password})
    pgpass = (root / "mlflow-server/pgpass").read_text().removeprefix("*:*:*:*:").removesuffix("\n")
    assert re.sub(r"\\(.)", r"\1", pgpass) == password
    credentials = configparser.RawConfigParser()
    credentials.read(root / "mlflow-server/aws_credentials")
    assert credentials["default"]["aws_secret_access_key"] == password


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("short", "has 5 characters"),
        ("x" * 41, "has 41 characters"),
        ("with space", "has a character that not every server takes"),
        ("pässword", "has a character that not every server takes"),
    ],
)
def test_unusable_password_changes_nothing_and_is_not_repeated(
    make_secrets: ModuleType, root: Path, password: str, problem: str
) -> None:
    """One line names the variable and the problem, never the value."""
    with pytest.raises(make_secrets.UnusablePassword, match=f"S3_SECRET_KEY in .env {problem}") as raised:
        make_secrets.make(root, {"S3_SECRET_KEY": password, "POSTGRES_PASSWORD": "correct-horse"})
    assert password not in str(raised.value)
    assert not any((root / file).exists() for file in FILES)


def test_a_store_of_ones_own_has_its_own_key(make_secrets: ModuleType, root: Path) -> None:
    """The MLflow server is told that key; the stack's own stays for a store of its own."""
    make_secrets.make(root, {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "wJalr/X+Utn"})
    keys = configparser.RawConfigParser()
    keys.read(root / "mlflow-server/aws_credentials")
    assert dict(keys["default"]) == {"aws_access_key_id": "AKIA", "aws_secret_access_key": "wJalr/X+Utn"}
    make_secrets.make(root, {})
    assert "aws_access_key_id = mlflow\n" in (root / "mlflow-server/aws_credentials").read_text()


def test_what_signs_in_elsewhere_is_handed_on_as_it_is(make_secrets: ModuleType, root: Path) -> None:
    """Any password will do, as another server made it; what .env has not leaves an empty file, which is none."""
    for folder in ("torchserve", "client"):
        (root / folder).mkdir()
    given = "short: \u00e9 \\"
    make_secrets.hand_on(root, {"MLFLOW_TRACKING_PASSWORD": given, "AWS_ACCESS_KEY_ID": "key"})
    for folder in ("torchserve", "client"):
        assert (root / folder / "mlflow_password").read_text() == given
        assert (root / folder / "mlflow_token").read_text() == ""
        assert stat.S_IMODE((root / folder / "mlflow_password").stat().st_mode) == 0o440
    keys = configparser.RawConfigParser()
    keys.read(root / "torchserve/aws_credentials")
    assert dict(keys["default"]) == {"aws_access_key_id": "key"}
    make_secrets.hand_on(root, {})
    assert (root / "torchserve/aws_credentials").read_text() == ""


def test_accounts_have_passwords_of_their_own(make_secrets: ModuleType, root: Path) -> None:
    """Each service has its account's, the MLflow server all of them; they stay, but for the admin's that .env sets."""
    for folder in ("trainer", "torchserve", "client"):
        (root / folder).mkdir()
    make_secrets.make_accounts(root, {})
    accounts = json.loads((root / "mlflow-server/accounts.json").read_text())
    readers = {"trainer": "trainer", "controller": "torchserve", "client": "client"}
    assert {name: (root / reader / "mlflow_password").read_text() for name, reader in readers.items()} == {
        name: accounts[name] for name in readers
    }
    assert len(set(accounts.values())) == 4
    assert stat.S_IMODE((root / "mlflow-server/accounts.json").stat().st_mode) == 0o400
    make_secrets.make_accounts(root, {"MLFLOW_ADMIN_PASSWORD": "correct-horse"})
    assert json.loads((root / "mlflow-server/accounts.json").read_text()) == {**accounts, "admin": "correct-horse"}
    with pytest.raises(make_secrets.UnusablePassword, match=r"has 11 characters. Expected: 12 to 40"):
        make_secrets.make_accounts(root, {"MLFLOW_ADMIN_PASSWORD": "elevenchars"})
