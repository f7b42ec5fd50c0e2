"""The folder that the gateway reads: its files are replaced whole, and two commands at once take turns."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

from signet_client.errors import DoorUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

READ_BY_GROUP = 0o640


class Folder:
    """The files by which the gateway's door is kept."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other commands out, from reading a file until it is written anew. Raises DoorUnreachable."""
        try:
            with (self._path / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise DoorUnreachable(str(self._path), error.strerror or str(error)) from error

    def read(self, name: str) -> str | None:
        """What a file holds, None if it is not there. Raises DoorUnreachable."""
        try:
            return (self._path / name).read_text("utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DoorUnreachable(str(self._path), error.strerror or str(error)) from error

    def write(self, name: str, content: str) -> None:
        """Replace a file in one step. Raises DoorUnreachable."""
        new = self._path / f".{name}.new"
        try:
            new.unlink(missing_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, READ_BY_GROUP)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(content)
            new.replace(self._path / name)
        except OSError as error:
            raise DoorUnreachable(str(self._path), error.strerror or str(error)) from error
