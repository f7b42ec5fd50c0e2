"""What is free and what is taken, read from files as the kernel writes them, and of real processes."""

from __future__ import annotations

import gc
import mmap
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from signet_torchserve import memory, os_compat

MIB = 1 << 20
UNLIMITED_V1 = 9223372036854771712
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere psutil tells")


def _v2(limit: object, used: int, files: int = 0, mapped: int = 0, shmem: int = 0) -> dict[str, str]:
    stat = f"anon 1\nfile {files * MIB}\nshmem {shmem * MIB}\nfile_mapped {mapped * MIB}\n"
    most = limit if limit == "max" else int(str(limit)) * MIB
    return {"memory.max": f"{most}\n", "memory.current": f"{used * MIB}\n", "memory.stat": stat}


def _v1(limit_bytes: int, used: int, files: int = 0, mapped: int = 0) -> dict[str, str]:
    stat = f"cache 1\ntotal_cache {files * MIB}\ntotal_mapped_file {mapped * MIB}\ntotal_shmem 0\n"
    return {
        "memory.limit_in_bytes": f"{limit_bytes}\n",
        "memory.usage_in_bytes": f"{used * MIB}\n",
        "memory.stat": stat,
    }


@pytest.mark.parametrize(
    ("own", "groups", "free"),
    [
        ("0::/", {}, 4000),
        ("0::/", {"": _v2("max", 900)}, 4000),
        ("0::/", {"": _v2(1000, 900)}, 100),
        ("0::/", {"": _v2(9000, 900)}, 4000),
        ("0::/", {"": _v2(1000, 900, files=300)}, 400),
        ("0::/", {"": _v2(1000, 900, files=300, mapped=200)}, 200),
        ("0::/", {"": _v2(1000, 900, files=300, shmem=300)}, 100),
        ("0::/", {"": _v2(800, 900)}, 0),
        ("0::/a/b", {"a/b": _v2("max", 1), "a": _v2(1000, 700)}, 300),
        ("0::/a/b", {"a/b": _v2(500, 100), "a": _v2(1000, 100)}, 400),
        ("0::/the/hosts/path", {"": _v2(1000, 900)}, 100),
        ("4:memory:/\n1:cpu:/x", {"memory": _v1(1000 * MIB, 900, files=300, mapped=100)}, 300),
        ("4:memory:/", {"memory": _v1(UNLIMITED_V1, 900)}, 4000),
        ("4:memory:/docker/abc\n0::/", {"memory": _v1(1000 * MIB, 600)}, 400),
    ],
)
def test_free(
    own: str, groups: dict[str, dict[str, str]], free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The least of what the machine has and what each limit above this process leaves; files count if mapped."""
    (tmp_path / "proc/self").mkdir(parents=True)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=4000 * MIB))
    (tmp_path / "proc/self/cgroup").write_text(f"{own}\n")
    for group, files in groups.items():
        folder = tmp_path / "sys/fs/cgroup" / group
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text)
    assert memory.free_mib(tmp_path) == free


def test_this_machine_tells() -> None:
    """Free memory is found whatever control groups this machine has."""
    assert memory.free_mib() > 0


def test_taken(tmp_path: Path) -> None:
    """What a forked process has alone counts, and the model's files, read or not; not what it was forked with."""
    folder = tmp_path / "model@1"
    folder.mkdir()
    file = folder / "model.pt2"
    file.write_bytes(b"x" * 32 * MIB)
    inherited = bytearray(b"y" * 64 * MIB)
    reading, writing = os.pipe()
    ending, ended = os.pipe()
    pids = [_forked(file, writing, ending) for _ in range(2)]
    for _ in pids:
        assert os.read(reading, 1) == b"."
    try:
        one, both = memory.taken(pids[:1], folder), memory.taken(pids, folder)
    finally:
        os.write(ended, b"..")
        for pid in pids:
            os.waitpid(pid, 0)
    assert len(inherited) == 64 * MIB
    assert 24 <= one.alone_mib < 24 + 12
    assert 2 * 24 <= both.alone_mib < 2 * (24 + 12)
    assert (round(one.share_mib), round(both.share_mib)) == (8, 16), "two read half of it"
    assert (round(one.files_mib), round(both.files_mib)) == (32, 32)
    assert memory.taken(pids, folder) == (0, 0, 0), "they are gone"


def _forked(file: Path, writing: int, ending: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    gc.disable()  # it would write to the pages of all that this process has inherited
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            own = bytearray(b"z" * 24 * MIB)
            assert mapped[: 16 * MIB : mmap.PAGESIZE]
            os.write(writing, b".")
            os.read(ending, len(own) and 1)
    finally:
        os._exit(0)


def test_workers_end_first() -> None:
    """A process may say of itself that it is to end before others, and later that it is not."""
    code = (
        "from signet_torchserve import os_compat\n"
        "scores = []\n"
        "for score in (1000, 500):\n"
        "    os_compat.set_oom_score(score)\n"
        "    scores.append(open('/proc/self/oom_score_adj').read().strip())\n"
        "print(*scores)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1000", "500"]
    assert os_compat.IS_LINUX
