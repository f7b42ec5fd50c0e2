"""What is wrong with a request or a model version, said once and said precisely.

Refusal                 the request is wrong: an HTTP 4xx, never the server's fault
├── MalformedPayload    the body cannot be read as any format that is served
├── TooCostly           to decide on it takes more memory than a request may have: 413
└── SignatureMismatch   it can be read, and the model's signature refuses it
Failure                 the request is not answered, for no fault of its own: an HTTP 5xx, for it alone
├── Fault               what nobody foresaw; the log has the traceback
├── DecidedTooLate      enforcement takes longer than a request may
├── AnswerTooLarge      TorchServe takes no answer of this size
└── OutOfMemory         the model's device has no memory for it
NotServable             the model version is wrong: it is refused at deployment
└── DigestDiffers       its files are not those that were logged: they may be yet to come
FilesIncomplete         the model version's files are not all there: it may heal, and is tried again
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

MAX_PROBLEMS = 20
_MAX_MESSAGE, _MAX_TEXT = 4000, 500

Rule = Literal["columns", "type", "null", "finite", "empty", "shape", "params", "format", "model", "signature"]
RULES: tuple[Rule, ...] = get_args(Rule)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one value, column or body.

    `row` counts from 0 in the order the rows came; None where the problem is not of one row. `column` is the
    signature's or the request's name of the column, None where the problem is not of one column. `rule` is one of a
    closed set of short words, safe to count by.
    """

    rule: Rule
    expected: str
    got: str
    row: int | None = None
    column: str | int | None = None


class Refusal(Exception):
    """A request that is answered with an HTTP 4xx.

    `message` is one sentence for people, `problems` the list for programs, and `more` counts the problems that are not
    in it. A long message is cut.
    """

    status = 400

    def __init__(self, message: str, problems: Sequence[Problem], more: int = 0) -> None:
        self.message = _cut(message, _MAX_MESSAGE)
        super().__init__(self.message)
        self.problems = problems
        self.more = more
        self.written: bytes | None = None
        """Its HTTP body, once it was answered."""

    def as_document(self) -> dict[str, object]:
        """The refusal as JSON: all that `body` says, whichever model it is of."""
        listed = [_entry(problem) for problem in self.problems[:MAX_PROBLEMS]]
        return {"message": self.message, "problems": listed, "more": self._unlisted()}

    @property
    def rule(self) -> Rule:
        """The first rule that the request broke."""
        return self.problems[0].rule

    def body(self, model: str, version: str) -> dict[str, object]:
        """The JSON answer: at most `MAX_PROBLEMS` problems, and how many more there are."""
        answer: dict[str, object] = {
            "code": self.status,
            "type": "MlflowException",
            "message": self.message,
            "model": model,
            "version": version,
            "errors": [_entry(problem) for problem in self.problems[:MAX_PROBLEMS]],
        }
        if more := self._unlisted():
            answer["more_errors"] = more
        return answer

    def _unlisted(self) -> int:
        return max(0, len(self.problems) - MAX_PROBLEMS) + self.more


def listed(names: Sequence[object]) -> str:
    """The names as Python writes a list: the first of them, each cut if it is long, and how many more there are."""
    first = [_cut(name, _MAX_TEXT) if isinstance(name, str) else name for name in names[:MAX_PROBLEMS]]
    more = len(names) - len(first)
    return f"{first} and {more} more" if more else f"{first}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _entry(problem: Problem) -> dict[str, object]:
    """A problem as JSON: a request may name its columns by anything that JSON has, such as lists or huge numbers."""
    column = problem.column
    is_number = isinstance(column, int) and abs(column) < 2**53
    return asdict(problem) | {
        "column": column if column is None or is_number else _cut(str(column), _MAX_TEXT),
        "expected": _cut(problem.expected, _MAX_TEXT),
        "got": _cut(problem.got, _MAX_TEXT),
    }


class MalformedPayload(Refusal):
    """The body is not one of the formats that are served; `expected` and `got` say which and what."""

    def __init__(self, message: str, *, expected: str, got: str) -> None:
        super().__init__(message, [Problem(rule="format", expected=expected, got=got)])


class TooCostly(Refusal):
    """To decide on the request takes more memory than a request may have."""

    status = 413

    def __init__(self, size: int) -> None:
        super().__init__(
            f"The body has {size} bytes, and to check it against the signature takes more memory than one request may "
            "have: send fewer or smaller rows at once.",
            [Problem(rule="format", expected="a body that can be checked", got=f"a body of {size} bytes")],
        )


class SignatureMismatch(Refusal):
    """The model's signature does not admit the request."""


class Failure(Exception):
    """A request that is answered with an HTTP 5xx; the message is for its client and tells nothing of the inside."""

    status = 500

    def body(self, model: str, version: str) -> dict[str, object]:
        """The JSON answer."""
        return {
            "code": self.status,
            "type": type(self).__name__,
            "message": str(self),
            "model": model,
            "version": version,
        }


class Fault(Failure):
    """What nobody foresaw.

    Args:
        request: TorchServe's identifier of the request, which the log has beside the traceback.
    """

    def __init__(self, request: str) -> None:
        super().__init__(f"The server failed to answer this request. Its log says why: look for request {request}.")


class DecidedTooLate(Failure):
    """Enforcement takes longer than a request may."""

    status = 504  # the gateway asks again after a 503

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"The check of this request against the signature took longer than {timeout_s:g} s.")


class AnswerTooLarge(Failure):
    """TorchServe takes no answer of this size."""

    status = 507

    def __init__(self, size: int, most: int) -> None:
        super().__init__(
            f"The answer has {size} bytes, and at most {most} can be sent (max_response_size): "
            "ask for fewer rows at once."
        )


class OutOfMemory(Failure):
    """The model's device has no memory for the request."""

    status = 507

    def __init__(self, rows: int) -> None:
        super().__init__(f"The model has no memory for this request of {rows} rows: send fewer rows at once.")


class NotServable(Exception):
    """A model version that is refused for good; the message is what stands on it in the registry."""


class DigestDiffers(NotServable):
    """A model version whose files are not those that were logged: refused, and looked at again later."""

    def __init__(self, found: str, recorded: str) -> None:
        super().__init__(
            f"Its files have the digest {found}: expected {recorded}, which was recorded in serving.digest."
        )


class FilesIncomplete(Exception):
    """A model version some of whose files are missing, as while they are uploaded."""

    def __init__(self, what: str) -> None:
        super().__init__(f"Files not complete: {what}.")
