"""Where uploads lie until the store has them: on disk, in a folder of the server's own.

The folder is made below `TMPDIR`. What a server that was killed has left there is deleted by the next one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "signet-mlflow-server-"


def begin() -> Path:
    """Make a new folder for this process's temporary files; delete those of processes that ended."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if _lock(left):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    _lock(folder)
    tempfile.tempdir = str(folder)
    return folder


def _lock(folder: Path) -> bool:
    """Whether the folder is this process's now, until it ends; another user's cannot be."""
    try:
        fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
