from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def signet(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "signet_client", *words],
            env=os.environ | {"SIGNET_DOOR": str(tmp_path)},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return signet


def test_the_way_of_a_token(run: Run) -> None:
    """Created, listed without itself, revoked; standard output has the token and nothing else."""
    created = run("token", "create", "billing", "--deployment", "fare", "--rate", "100/s", "--expires", "90d")
    assert created.returncode == 0, created.stderr
    token = created.stdout.removesuffix("\n")
    assert token.startswith("signet_")
    assert "\n" not in token
    listed = run("token", "list").stdout
    assert [word for word in ("billing", "fare", "100/s") if word not in listed] == []
    assert token not in listed
    assert run("token", "revoke", "billing").stdout == "Token billing is revoked.\n"
    again = run("token", "revoke", "billing")
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.startswith("signet: Token 'billing' does not exist.")


def test_the_door_stays_shut_without_a_token(run: Run, tmp_path: Path) -> None:
    """And has its certificate with one; a later start leaves it as it is."""
    shut = run("door")
    assert (shut.returncode, "there is no valid token" in shut.stderr) == (2, True)
    run("token", "create", "x")
    assert run("door").returncode == 0
    made = (tmp_path / "certificate.pem").read_text()
    assert run("door").returncode == 0
    assert (tmp_path / "certificate.pem").read_text() == made
    assert run("certificate", "install", stdin=made.partition("-----BEGIN PRIVATE")[0]).returncode == 2
    assert run("certificate", "make", "--hosts", "a.example.org").returncode == 0
    assert (tmp_path / "certificate.pem").read_text() != made
