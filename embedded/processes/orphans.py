"""What outlived its supervisor and its shim: processes, known by a mark in their environment, and files elsewhere."""

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
    """Kills them all, and deletes what the stack has outside of its folder; returns how many processes there were."""
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
