"""A command as a person types it in the repository's root."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from testing.repository import ROOT


def output_of(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """What the command prints; AssertionError with all that it has said where it fails."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
