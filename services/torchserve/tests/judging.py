"""Judges for tests."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from signet_torchserve.judges import MEMORY_BYTES


@contextmanager
def judges_at(address: Path, memory_bytes: int = MEMORY_BYTES) -> Iterator[Path]:
    """Judges that judge, with so much memory for a request, until the context ends."""
    program = "import sys; from signet_torchserve import judges; judges.main(sys.argv[1], int(sys.argv[2]))"
    with subprocess.Popen([sys.executable, "-c", program, str(address), str(memory_bytes)]) as running:
        try:
            deadline = time.monotonic() + 60
            while not address.with_suffix(".large").exists():
                assert time.monotonic() < deadline, "The judges did not start."
                time.sleep(0.1)
            yield address
        finally:
            running.kill()
