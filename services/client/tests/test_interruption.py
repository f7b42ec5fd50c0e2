"""Commands that can be ended, however they were started."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest
from signet_client.interruption import interruptible

_COMMAND = """
import time
from signet_client.interruption import interruptible
try:
    with interruptible():
        print("begun", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    print("cleaned up", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("ignored", [True, False])
def test_it_ends_on_both_signals(number: signal.Signals, ignored: bool) -> None:
    """Also one that was started with SIGINT ignored, as a shell's `&` does."""
    ignoring = "trap '' INT; " if ignored else ""
    process = subprocess.Popen(
        ["bash", "-c", f'{ignoring}exec "$0" -c "$1"', sys.executable, _COMMAND], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        assert process.communicate(timeout=20)[0] == "cleaned up\n"


def test_handlers_of_others_stay() -> None:
    """A program that has its own handlers keeps them, and all others have theirs again afterwards."""
    before = signal.getsignal(signal.SIGTERM)

    def theirs(*_: object) -> None: ...

    try:
        signal.signal(signal.SIGTERM, theirs)
        with interruptible():
            assert signal.getsignal(signal.SIGTERM) is theirs
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with interruptible():
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_sets_none() -> None:
    """Python lets the main thread alone set handlers."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with interruptible():
                pass
        except BaseException as error:  # noqa: BLE001 -- whatever it is
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failed == []
