"""What memory is free for this process and its children, and what processes take, in MiB.

Free is what can be had before the kernel ends a process: below the limit of each control group that this process is in,
and on the machine. Files that were read count as free, unless a process has them mapped, as workers have a model's
weights.

Source: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory, and the same for version 1
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from signet_torchserve import machine

_MIB = 1 << 20
_UNLIMITED = 1 << 60  # version 1 has a number near 2**63 for no limit
_MAPPING = re.compile(rb"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+ *(.*)\n")
_PRIVATE = b"Private_Clean:", b"Private_Dirty:"


def free_mib(root: Path = Path("/")) -> float:
    """What this process and its children can take yet.

    Args:
        root: of the file system that has `/proc` and `/sys`.
    """
    if not machine.IS_LINUX:
        import psutil  # noqa: PLC0415 -- which Linux does not need

        return psutil.virtual_memory().available / _MIB
    available = _numbers((root / "proc/meminfo").read_text())["MemAvailable"] << 10
    return max(0, min([available, *_below_limits(root)])) / _MIB


def taken_mib(pids: Iterable[int], shared: Path) -> float:
    """What would be free without these processes: what is theirs alone, and their share of the files in `shared`.

    What a process shares with the one that forked it is not counted. One that is gone takes nothing.
    """
    return sum(_taken(pid, bytes(shared)) for pid in pids) / _MIB


def _taken(pid: int, shared: bytes) -> int:
    if not machine.IS_LINUX:
        import psutil  # noqa: PLC0415 -- as above

        with suppress(psutil.Error):
            return int(psutil.Process(pid).memory_full_info().uss)
        return 0
    taken = 0
    counted: tuple[bytes, ...] = _PRIVATE
    with suppress(FileNotFoundError, ProcessLookupError), Path("/proc", str(pid), "smaps").open("rb") as lines:
        for line in lines:
            if line.startswith(counted):
                taken += int(line.split()[1]) << 10
            elif found := _MAPPING.fullmatch(line):
                counted = (b"Pss:",) if found[1].startswith(shared) else _PRIVATE
    return taken


def _below_limits(root: Path) -> Iterator[int]:
    """Free bytes in each control group with a limit, from this process' own to the outermost that can be seen."""
    with suppress(FileNotFoundError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in {"", "memory"}:
                mount = root / "sys/fs/cgroup" / controllers
                # In a container the group's own path may be the host's: then its mount is the container's group.
                for group in (mount / path.strip("/"), *(mount / path.strip("/")).parents):
                    if group.is_relative_to(mount):
                        yield from _below_limit(group)


def _below_limit(group: Path) -> Iterator[int]:
    for limit, usage, prefix in (
        ("memory.max", "memory.current", ""),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ):
        with suppress(OSError):
            most = (group / limit).read_text().strip()
            if most.isdecimal() and int(most) < _UNLIMITED:
                stat = _numbers((group / "memory.stat").read_text())
                files = stat["file"] if prefix == "" else stat["total_cache"]
                mapped = stat["file_mapped"] if prefix == "" else stat["total_mapped_file"]
                in_use = mapped + stat.get(f"{prefix}shmem", 0)
                yield int(most) - int((group / usage).read_text()) + max(0, files - in_use)


def _numbers(text: str) -> dict[str, int]:
    """The number after each word at the beginning of a line."""
    return {words[0].rstrip(":"): int(words[1]) for words in map(str.split, text.splitlines()) if len(words) > 1}
