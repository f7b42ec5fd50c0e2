"""As many requests as there are connections, sent at once."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit


class Connections:
    """Connections that stay open, each of which sends the same body.

    Args:
        url: of the server.
        count: how many there are.
        body: JSON.
        expected: the status of each answer.
    """

    def __init__(self, url: str, count: int, body: bytes, *, expected: int = 200) -> None:
        address = urlsplit(url)
        self._host = address.netloc
        self._body = body
        self._expected = f"HTTP/1.1 {expected} ".encode()
        self._sockets = [socket.create_connection((address.hostname, address.port), 30) for _ in range(count)]

    def send(self, path: str) -> None:
        """Ask over all of them."""
        head = f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
        request = f"{head}Content-Length: {len(self._body)}\r\n\r\n".encode() + self._body
        for each in self._sockets:
            each.sendall(request)

    def answers(self) -> Iterator[float]:
        """`time.perf_counter` of each whole answer, as it comes.

        Raises:
            ConnectionError: an answer has another status, or ends too soon.
        """
        with selectors.DefaultSelector() as selector:
            for each in self._sockets:
                selector.register(each, selectors.EVENT_READ, (each, bytearray()))
            while selector.get_map():
                for key, _ in selector.select():
                    connection, answer = key.data
                    part = connection.recv(1 << 16)
                    if not part:
                        raise ConnectionError(f"The connection ended with {answer[:300]!r}.")
                    answer += part
                    if self._is_whole(answer):
                        yield time.perf_counter()
                        selector.unregister(connection)

    def ask_each(self, path: str) -> list[float]:
        """Seconds until each is answered."""
        began = time.perf_counter()
        self.send(path)
        return [done - began for done in self.answers()]

    def ask(self, path: str) -> float:
        """Seconds until all are answered."""
        return max(self.ask_each(path))

    def _is_whole(self, answer: bytes) -> bool:
        head, _, body = answer.partition(b"\r\n\r\n")
        lengths = [it.partition(b":")[2] for it in head.lower().split(b"\r\n") if it.startswith(b"content-length:")]
        if not answer.startswith(self._expected) or not lengths:
            raise ConnectionError(f"Expected {self._expected.decode()}and a body, got {answer[:300]!r}")
        return len(body) >= int(lengths[0])
