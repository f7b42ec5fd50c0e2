"""Docker's command, run from the repository's root."""

from __future__ import annotations

import shlex
import subprocess

from testing.repository import ROOT


def docker(*words: str, stdin: str | None = None) -> str:
    """What the command says; AssertionError with its complaint where it fails."""
    command = ["docker", *words]
    done = subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"
    return done.stdout.strip()
