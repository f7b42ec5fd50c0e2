"""Requests to a local server that may not be up yet; they never use a proxy."""

from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """Status and body of an answer."""

    status: int
    body: str

    def __str__(self) -> str:
        return f"{self.status} {' '.join(self.body.split())[:200]}"


def ask(url: str, method: str = "GET", body: bytes | None = None, timeout_s: float = 2.0) -> Answer | None:
    """The server's answer; None while nobody answers."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=timeout_s)
    try:
        connection.request(method, parts.path, body)
        response = connection.getresponse()
        return Answer(response.status, response.read().decode(errors="replace"))
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def answers(url: str) -> bool:
    """Whether the server answers with 200."""
    answer = ask(url)
    return answer is not None and answer.status == 200  # noqa: PLR2004 -- HTTP's OK
