"""Expectations of an answer: each says in a short phrase what it expects, and names the first thing that is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from signet_client.server import Answer

VERSION_HEADER = "X-Model-Version"


class Expectation(Protocol):
    """Checks one answer."""

    def __str__(self) -> str:
        """What is expected, in a phrase."""

    def problem(self, answer: Answer) -> str | None:
        """What the answer has wrong, None where it's as expected."""


@dataclass(frozen=True)
class Labels:
    """The seed's answer: one row's label as a bare word, several rows' labels as a JSON list."""

    labels: tuple[str, ...]

    def __str__(self) -> str:
        return self.labels[0] if len(self.labels) == 1 else f"{len(self.labels)} labels"

    def problem(self, answer: Answer) -> str | None:
        got = answer.text.strip() if len(self.labels) == 1 else answer.document
        expected = self.labels[0] if len(self.labels) == 1 else list(self.labels)
        return _status(answer, 200) or _version(answer) or (None if got == expected else f"{got}, not {expected}")


@dataclass(frozen=True)
class Predictions:
    """MLflow's answer: `{"predictions": [labels]}`."""

    labels: tuple[str, ...]

    def __str__(self) -> str:
        return f"predictions: {self.labels[0] if len(self.labels) == 1 else f'{len(self.labels)} labels'}"

    def problem(self, answer: Answer) -> str | None:
        expected = {"predictions": list(self.labels)}
        return (
            _status(answer, 200)
            or _version(answer)
            or _json(answer)
            or (None if answer.document == expected else f"{answer.text.strip()}, not {expected}")
        )


@dataclass(frozen=True)
class Rejection:
    """A 400 in JSON whose message begins as given; the message and its beginning may differ in a final full stop."""

    begins: str = ""

    def __str__(self) -> str:
        return f"400 {self.begins}".rstrip()

    def problem(self, answer: Answer) -> str | None:
        return (
            _status(answer, 400)
            or _version(answer)
            or _json(answer)
            or _code(answer, 400)
            or (None if (answer.message or "").startswith(self.begins) else f"message {answer.message!r}")
        )


@dataclass(frozen=True)
class NotServed:
    """TorchServe's 404 in JSON for a deployment that doesn't exist."""

    def __str__(self) -> str:
        return "404 ModelNotFoundException"

    def problem(self, answer: Answer) -> str | None:
        return _status(answer, 404) or _code(answer, 404)


def _status(answer: Answer, expected: int) -> str | None:
    return None if answer.status == expected else f"status {answer.status}, not {expected}"


def _version(answer: Answer) -> str | None:
    version = answer.headers.get(VERSION_HEADER)
    return None if version and version.isdecimal() else f"{VERSION_HEADER} is {version!r}, not a version"


def _json(answer: Answer) -> str | None:
    expected = "application/json"
    return None if answer.media_type == expected else f"content type {answer.media_type!r}, not {expected!r}"


def _code(answer: Answer, expected: int) -> str | None:
    """What is wrong with the body of an error: it must repeat the status as its code, and have a message."""
    document = answer.document
    if not isinstance(document, dict) or not answer.message:
        return f"no JSON object with a message: {answer.text.strip()[:80]!r}"
    return None if document.get("code") == expected else f"code {document.get('code')!r} in the body, not {expected}"
