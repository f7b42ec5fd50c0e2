"""The server's own folder for temporary files, such as uploads that the store does not have yet.

The folder is made below `TMPDIR`. If the server is killed, the next one deletes the folder.
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
    """Lock the folder until this process ends. False if another process has it, or it is another user's."""
    try:
        fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
