"""An enforcement service for tests."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from signet_contract.enforcement.service import MEMORY_BYTES

_PROGRAM = """
import sys
from signet_contract import machine
from signet_contract.enforcement import service
machine.IS_LINUX = sys.argv[2] == "True"
service.main(sys.argv[1], int(sys.argv[3]))
"""


@contextmanager
def service_at(address: Path, memory_bytes: int = MEMORY_BYTES, *, is_linux: bool = True) -> Iterator[Path]:
    """An enforcement service, with so much memory for a request, until the context ends."""
    with subprocess.Popen([sys.executable, "-c", _PROGRAM, str(address), str(is_linux), str(memory_bytes)]) as running:
        try:
            deadline = time.monotonic() + 60
            while not address.with_suffix(".large").exists():
                assert time.monotonic() < deadline, "The enforcement service did not start."
                time.sleep(0.1)
            yield address
        finally:
            running.kill()
