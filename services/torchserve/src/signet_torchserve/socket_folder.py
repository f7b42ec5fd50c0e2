"""Where TorchServe and the enforcement service listen: a folder with a short path that only this user can enter.

A socket's address holds some 100 bytes, which the path of a replica's own folder may exceed. So each replica has a
folder for its sockets below `TMPDIR`, or below /tmp where that one is long, too. The folder of a replica that was
killed is deleted at its next start, which finds it by a link.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path

from signet_torchserve import os_compat

MAX_PATH_BYTES = 103
"""Bytes that a socket's path may have: on macOS; on Linux, 107."""
_LINK = "sockets"
_NAMES = "/signet-12345678/enforcement.large"  # the longest that there is


def begin(home: Path) -> Path:
    """Make a folder for the sockets of the replica whose own folder is `home`, and delete the one that it had."""
    link = home / _LINK
    if link.is_symlink():
        shutil.rmtree(link.readlink(), ignore_errors=True)
        link.unlink()
    folder = Path(tempfile.mkdtemp(prefix="signet-", dir=_short(tempfile.gettempdir())))
    link.symlink_to(folder)
    return folder


def management(folder: Path) -> Path | int:
    """Where TorchServe's management API is to listen: at a socket in the folder, or else at a free port."""
    if os_compat.has_netty_sockets():
        return folder / "management.sock"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def end(folder: Path) -> None:
    """Delete the folder, whatever listens there."""
    shutil.rmtree(folder, ignore_errors=True)


def _short(folder: str) -> str:
    return folder if len(os.fsencode(folder + _NAMES)) <= MAX_PATH_BYTES else "/tmp"  # noqa: S108 -- mkdtemp makes it private
