"""What the tests of several modules need."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(
    0, str(Path(__file__).resolve().parents[2])
)  # `embedded` is run from the repository's root, not installed


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Polls a condition, and fails when it does not come true in time."""

    def poll(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "it did not come true in time"
            time.sleep(0.02)

    return poll
