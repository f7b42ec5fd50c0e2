"""One stack's folder: its data, logs and keys, and the lock that its supervisor holds."""

import fcntl
import os
import secrets
import shutil
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded.errors import DiskAlmostFull, FolderUnusable, StackBusy

_NEEDED_MB = 500


class DataDir:
    """Paths below `path`; `make` creates the folders."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.logs = self.path / "logs"
        self._keys = self.path / "keys"

    def make(self) -> None:
        """Makes the folder. Raises FolderUnusable, or DiskAlmostFull."""
        try:
            for path in (self.path, self.logs, self._keys):
                path.mkdir(parents=True, exist_ok=True)
            self._keys.chmod(0o700)
            self.logs.chmod(0o700)
            probe = self.path / "probe"
            probe.write_bytes(b"x" * 4096)
            probe.unlink()
        except OSError as error:
            raise FolderUnusable(self.path, error) from error
        free_mb = shutil.disk_usage(self.path).free // 2**20
        if free_mb < _NEEDED_MB:
            raise DiskAlmostFull(self.path, free_mb, _NEEDED_MB)

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def log_end(self, name: str) -> str:
        """A log's last lines, as the end of a message."""
        return f"The log {self.log(name)} ends so:\n{self.tail(name)}"

    def tail(self, name: str, lines: int = 15) -> str:
        """A log's last lines, indented."""
        return "\n".join(f"    {line}" for line in self._last_lines(name, lines) or ["(nothing)"])

    def last_line(self, name: str) -> str:
        """A log's last line; empty if the log is."""
        return "".join(self._last_lines(name, 1)).strip()

    def _last_lines(self, name: str, lines: int) -> list[str]:
        """The last lines that are not blank. Of a line that a progress bar has overwritten, its last state."""
        try:
            with self.log(name).open(encoding="utf-8", errors="replace", newline="\n") as file:
                return list(deque((line.rstrip().split("\r")[-1] for line in file if line.strip()), maxlen=lines))
        except FileNotFoundError:
            return []

    def sub(self, name: str) -> Path:
        """The own folder of a service."""
        path = self.path / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def key(self, name: str) -> str:
        """A random secret that stays the same for this folder; letters and digits only."""
        path = self._keys / name
        if not path.exists():
            self.secret_file(name, secrets.token_hex(20))
        return path.read_text(encoding="utf-8")

    def secret_file(self, name: str, text: str) -> Path:
        """Writes a file that only this user reads. It is replaced as a whole, so that nobody reads half of it."""
        path = self._keys / name
        partial = path.with_name(f"{name}.new")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        return partial.replace(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lock; the kernel frees it however this process ends. Raises StackBusy if another one holds it."""
        with (self.path / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StackBusy(self.path) from error
            yield

    def is_locked(self) -> bool:
        try:
            with (self.path / "lock").open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False
