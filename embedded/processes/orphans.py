"""Ends processes that outlived their supervisor and shim, known by a mark in their environment, and deletes files."""

import os
from pathlib import Path

import psutil

from embedded import socket_folder

MARK = "SIGNET_STACK"


def find(folder: Path) -> list[psutil.Process]:
    """Every process that carries this folder's mark, other than this one and its ancestors."""
    me = psutil.Process()
    ours = {me.pid, *(ancestor.pid for ancestor in me.parents())}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid not in ours and process.environ().get(MARK) == str(folder):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def end(folder: Path) -> int:
    """Kills the folder's processes, and deletes what its stack has outside of it. Returns the number of processes."""
    found = find(folder)
    for process in found:
        try:
            process.kill()  # psutil compares pid and start time: a reused pid is left alone
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(found, timeout=5)
    socket_folder.end(folder)
    return len(found)


def mark(folder: Path) -> dict[str, str]:
    return {MARK: os.fspath(folder)}
