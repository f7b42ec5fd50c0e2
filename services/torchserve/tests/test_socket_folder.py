from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import requests
from signet_torchserve import socket_folder
from signet_torchserve.archive.store import Store

from testing.small_server import ECHO, small_server

BEGIN = """
import os, signal, sys
from pathlib import Path
from signet_torchserve.archive.store import Store
store = Store(Path(sys.argv[1]))
(store.sockets / "a.sock").touch()
print(store.sockets, flush=True)
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


def _folder_of_a_process(home: Path, ends: str) -> Path:
    command = [sys.executable, "-c", BEGIN, str(home), ends]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return Path(done.stdout.strip())


@pytest.mark.parametrize("name", ["short", "long " + 100 * "é", "/".join(30 * ["deep folder"])])
@pytest.mark.parametrize("parent", ["home", "TMPDIR"])
def test_the_path_is_short_enough_for_a_socket(
    name: str, parent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the replica and the temporary files lie; nobody else can enter it."""
    (tmp_path / name).mkdir(parents=True)
    if parent == "TMPDIR":
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    store = Store(tmp_path / name)
    assert len(os.fsencode(store.sockets / "enforcement.large")) <= socket_folder.MAX_PATH_BYTES
    assert stat.S_IMODE(store.sockets.stat().st_mode) == 0o700
    store.close()
    assert not store.sockets.exists()


def test_the_folder_goes_with_its_process(tmp_path: Path) -> None:
    """A process that ends leaves nothing."""
    folder = _folder_of_a_process(tmp_path, "ends")
    assert folder.name.startswith("signet-")
    assert not folder.exists()


def test_the_folder_of_a_killed_process_goes_at_the_next_start(tmp_path: Path) -> None:
    """It goes when the same replica starts. A running replica's folder stays."""
    other = Store(tmp_path)
    left = _folder_of_a_process(tmp_path, "killed")
    assert left.exists()
    store = Store(tmp_path)
    assert not left.exists()
    assert store.sockets.exists()
    assert other.sockets.exists()
    store.close()
    other.close()


def test_torchserve_runs_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs whatever is in the folder's path, and whatever the locale says."""
    monkeypatch.setenv("LC_ALL", "C")
    folder = tmp_path / "a b" / ("é" * 100)
    folder.mkdir(parents=True)
    with small_server(folder, {"echo": ECHO}) as server:
        server.deploy("echo")
        assert requests.post(server.url("echo"), data=b"text", timeout=10).text == "text"
