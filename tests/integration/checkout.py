"""A copy of this repository in which `make` runs as in a fresh clone whose `.venv` is made already."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from testing.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from subprocess import CompletedProcess

_LEFT_BEHIND = (".git", ".venv", ".signet", ".env", ".*_cache", "__pycache__", "*.egg-info", "mlruns", "build")
_STAMP = "import bootstrap as b; b.STAMP.write_text(b.fingerprint() + '\\n' + b.place().replace('\\n', ' '))"


class Checkout:
    """The repository's files in a folder of their own, so that nobody's `make up` is touched.

    Its `.venv` holds nothing but a `python` that is the one that runs these tests, and the stamp of a complete `.venv`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(ROOT, root, symlinks=True, ignore=shutil.ignore_patterns(*_LEFT_BEHIND), dirs_exist_ok=True)
        python = root / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
        python.chmod(0o755)
        subprocess.run([sys.executable, "-c", _STAMP], cwd=root / "embedded", check=True)

    def make(
        self, *args: str, env: Mapping[str, str] | None = None, umask: int = -1, timeout_s: float = 240
    ) -> CompletedProcess[str]:
        """Run `make` there, without whatever steers the stack in this process's environment."""
        return self.shell(["make", "--no-print-directory", *args], env=env, umask=umask, timeout_s=timeout_s)

    def shell(
        self, command: list[str], *, env: Mapping[str, str] | None = None, umask: int = -1, timeout_s: float = 240
    ) -> CompletedProcess[str]:
        """Run a command there; with -1 as this process's umask is."""
        prefixes = ("MLFLOW_", "SIGNET_", "TORCHSERVE_", "TS_", "MAKE")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
        return subprocess.run(
            command,
            cwd=self.root,
            env={**clean, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            umask=umask,
            check=False,
            timeout=timeout_s,
        )

    def orphans(self) -> list[str]:
        """Processes of this machine that belong to this copy: they name it in their command or their environment."""
        found = []
        for process in psutil.process_iter(["pid", "cmdline"]):
            try:
                words = [*(process.info["cmdline"] or ()), process.environ().get("SIGNET_STACK", ""), process.cwd()]
            except psutil.Error:
                continue
            if any(word.startswith(str(self.root)) for word in words):
                found.append(" ".join(process.info["cmdline"] or ()))
        return found
