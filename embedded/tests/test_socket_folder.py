import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from embedded import socket_folder
from embedded.processes import orphans

ROOT = Path(socket_folder.__file__).parent.parent
BEGIN = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from embedded import socket_folder
print(socket_folder.begin(Path(sys.argv[2]), Path(sys.argv[3])), flush=True)
input()
"""


@pytest.mark.parametrize("name", ["short", "long é " * 20])
@pytest.mark.parametrize("parent", ["data", "TMPDIR"])
def test_the_path_is_short(name: str, parent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever data and temporary files lie, a service can have sockets there, and nobody else can enter."""
    folder = tmp_path / name
    folder.mkdir()
    if parent == "TMPDIR":
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
    short = socket_folder.begin(folder)
    assert len(os.fsencode(short)) <= 50
    assert stat.S_IMODE(short.stat().st_mode) == 0o700
    socket_folder.end(folder)
    assert not short.exists()


def test_what_a_killed_stack_has_left_is_deleted(tmp_path: Path) -> None:
    """Its folder with all that is in it, and its sockets that nobody listens at any more."""
    left, in_use = tmp_path / "left.sock", tmp_path / "used.sock"
    data = tmp_path / "data"
    data.mkdir()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as gone:
        listener.bind(str(in_use))
        listener.listen()
        gone.bind(str(left))
        command = [sys.executable, "-c", BEGIN, str(ROOT), str(data), str(left)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stack:
            assert stack.stdout is not None
            short = Path(stack.stdout.readline().strip())
            (short / "folder").mkdir()
            stack.send_signal(signal.SIGKILL)
        assert short.exists()
        orphans.end(data)
        assert not short.exists()
        assert not left.exists()
        socket_folder.begin(data, in_use)
        orphans.end(data)
        assert in_use.exists()
    assert list(data.iterdir()) == []
