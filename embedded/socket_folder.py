"""The folder of a stack's sockets: its path is short, and only this user can enter it.

A socket's address holds some 100 bytes, which the data folder's path may exceed. So the folder lies below `TMPDIR` or
/tmp. It is the services' own `TMPDIR`. The data folder lists what the stack has outside of it: this folder, and sockets
elsewhere. The next start deletes what a killed stack has left.
"""

import json
import os
import shutil
import socket
import tempfile
from pathlib import Path

_LIST = "outside.json"
_LONGEST = 50  # bytes, of the 103 that a socket's path has on macOS: services make folders of their own in it
_NAME = "/signet-12345678"


def begin(folder: Path, *others: Path) -> Path:
    """Makes the socket folder of the stack whose data is in `folder`; `others` are sockets that lie elsewhere."""
    temporary = tempfile.gettempdir()
    if len(os.fsencode(temporary + _NAME)) > _LONGEST:
        temporary = "/tmp"  # noqa: S108 -- mkdtemp makes it private
    short = Path(tempfile.mkdtemp(prefix="signet-", dir=temporary))
    (folder / _LIST).write_text(json.dumps([str(short), *map(str, others)]), encoding="utf-8")
    return short


def end(folder: Path) -> None:
    """Deletes what the data folder lists, but no socket at which somebody listens: another stack may have it by now."""
    try:
        listed = json.loads((folder / _LIST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    for path in map(Path, listed):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_socket() and not _is_heard(path):
            path.unlink(missing_ok=True)
    (folder / _LIST).unlink()


def _is_heard(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
