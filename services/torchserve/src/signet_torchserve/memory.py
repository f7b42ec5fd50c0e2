"""What memory is free for this process and its children, and what processes take, in MiB.

Free memory is what can be taken before the kernel ends a process: below the limit of each control group that this
process is in, and on the machine. Files that were read count as free, unless a process has them mapped, as workers have
a model's weights.

Source: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory, and the same for version 1
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

_MIB = 1 << 20
_UNLIMITED = 1 << 60  # version 1 has a number near 2**63 for no limit


def free_mib(root: Path = Path("/")) -> float:
    """What this process and its children can take yet.

    Args:
        root: of the file system that has the control groups, which only Linux has.
    """
    return max(0, min([psutil.virtual_memory().available, *_below_limits(root)])) / _MIB


class Taken(NamedTuple):
    """What processes take together, in MiB. What one shares with the process that forked it is not counted."""

    alone_mib: float
    """What is theirs alone, files of the model apart."""
    share_mib: float
    """Their share of those of the model's files that are in memory now."""
    files_mib: float
    """All of the model's files that they have mapped, each once: what is in memory after requests have read them."""


def taken(pids: Iterable[int], files: Path) -> Taken:
    """What these processes take. One that is gone takes nothing.

    Args:
        pids: of the processes.
        files: the folder with the model's files.
    """
    each = [_taken(pid, files) for pid in pids]
    files_mib = max((it.files_mib for it in each), default=0)
    return Taken(sum(it.alone_mib for it in each), sum(it.share_mib for it in each), files_mib)


def _taken(pid: int, files: Path) -> Taken:
    alone = share = mapped = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if not hasattr(process, "memory_maps"):  # on macOS
            return Taken(process.memory_full_info().uss / _MIB, 0, 0)
        for mapping in process.memory_maps(grouped=False):
            if mapping.path.startswith(str(files)):
                share += mapping.pss
                mapped += mapping.size
            else:
                alone += mapping.private_clean + mapping.private_dirty
    return Taken(alone / _MIB, share / _MIB, mapped / _MIB)


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
