"""An enforcement service for tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from signet_contract.enforcement.service import MEMORY_BYTES

from testing.polling import until

_PROGRAM = """
import sys
from signet_contract import os_compat
from signet_contract.enforcement import service
os_compat.IS_LINUX = sys.argv[2] == "True"
service.main(sys.argv[1], int(sys.argv[3]))
"""


@contextmanager
def service_at(address: Path, memory_bytes: int = MEMORY_BYTES, *, is_linux: bool = True) -> Iterator[Path]:
    """An enforcement service, with so much memory for a request, until the context ends."""
    with subprocess.Popen([sys.executable, "-c", _PROGRAM, str(address), str(is_linux), str(memory_bytes)]) as running:
        try:
            until("the enforcement service answers", address.with_suffix(".large").exists)
            yield address
        finally:
            running.kill()
