"""Judges for tests."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def judges_at(address: Path) -> Iterator[Path]:
    """Judges that judge, until the context ends."""
    with subprocess.Popen([sys.executable, "-m", "signet_contract.enforcement.service", str(address)]) as running:
        try:
            deadline = time.monotonic() + 60
            while not address.with_suffix(".large").exists():
                assert time.monotonic() < deadline, "The judges did not start."
                time.sleep(0.1)
            yield address
        finally:
            running.kill()
