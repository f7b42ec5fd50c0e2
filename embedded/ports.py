"""TCP ports on 127.0.0.1: free ones, and whether a wished-for one is free."""

import random
import socket

import psutil

from embedded.errors import PortTaken

# Below the range that the kernel hands to outgoing connections (32768 up on Linux, 49152 up elsewhere), so that a port
# found free stays so.
_RANGE = range(20000, 32000)


def is_free(port: int) -> bool:
    """Whether a server could listen there now, on 127.0.0.1 and on all addresses."""
    for address in ("127.0.0.1", "0.0.0.0"):  # noqa: S104 -- only tried, never listened on
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


def free(names: list[str], before: dict[str, int] | None = None) -> dict[str, int]:
    """A free port for each name: the one it had before, if that is still free."""
    chosen: dict[str, int] = {}
    for name in names:
        candidates = ([before[name]] if before and name in before else []) + random.sample(_RANGE, 200)
        chosen[name] = next(port for port in candidates if port not in chosen.values() and is_free(port))
    return chosen


def wished(variable: str, port: int) -> int:
    """The port itself, or for 0 any free one. Raises PortTaken if a process listens there."""
    if port == 0:
        return free([variable])[variable]
    if not is_free(port):
        raise PortTaken(variable, port, _holder(port))
    return port


def _holder(port: int) -> str | None:
    """Name and pid of the process that listens at a port, if this user may know it."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:] == (port,) and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return None
