"""Judges for tests."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROGRAM = """
import sys
from signet_contract import machine
from signet_contract.enforcement import service
machine.IS_LINUX = sys.argv[2] == "True"
service.main(sys.argv[1])
"""


@contextmanager
def judges_at(address: Path, *, is_linux: bool = True) -> Iterator[Path]:
    """Judges that judge, until the context ends."""
    with subprocess.Popen([sys.executable, "-c", _PROGRAM, str(address), str(is_linux)]) as running:
        try:
            deadline = time.monotonic() + 60
            while not address.with_suffix(".large").exists():
                assert time.monotonic() < deadline, "The judges did not start."
                time.sleep(0.1)
            yield address
        finally:
            running.kill()
