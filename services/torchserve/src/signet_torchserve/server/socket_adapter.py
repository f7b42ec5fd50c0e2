"""HTTP over a Unix socket, or a port, whatever the URL says, for `requests`.

Only who may enter the socket's folder reaches it; a port of the loopback is open to every user of the machine.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from requests.adapters import DEFAULT_POOLSIZE, HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool


class SocketAdapter(HTTPAdapter):
    """Sends every request of the URLs that it is mounted for to one socket, whatever their host.

    Args:
        address: the socket's path, or a port of 127.0.0.1.
    """

    def __init__(self, address: Path | int) -> None:
        class Connection(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return _connected(address, self.timeout)

        class Pool(HTTPConnectionPool):
            ConnectionCls = Connection

        self._pool = Pool("localhost", maxsize=DEFAULT_POOLSIZE)
        super().__init__()

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> HTTPConnectionPool:
        return self._pool


def _connected(address: Path | int, timeout_s: Any) -> socket.socket:
    is_port = isinstance(address, int)
    connection = socket.socket(socket.AF_INET if is_port else socket.AF_UNIX)
    connection.settimeout(timeout_s)
    try:
        connection.connect(("127.0.0.1", address) if is_port else str(address))
    except OSError:
        connection.close()
        raise
    return connection
