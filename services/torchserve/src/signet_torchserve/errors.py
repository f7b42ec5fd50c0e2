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
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

MAX_PROBLEMS = 20

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

    `message` is one sentence for people, `problems` the whole list for programs.
    """

    status = 400

    def __init__(self, message: str, problems: Sequence[Problem]) -> None:
        super().__init__(message)
        self.message = message
        self.problems = problems
        self.written: bytes | None = None
        """Its HTTP body, once it was answered."""

    def as_document(self) -> dict[str, object]:
        """The refusal as JSON, whole."""
        return {"message": self.message, "problems": [_entry(problem) for problem in self.problems]}

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
        if len(self.problems) > MAX_PROBLEMS:
            answer["more_errors"] = len(self.problems) - MAX_PROBLEMS
        return answer


def _entry(problem: Problem) -> dict[str, object]:
    """A problem as JSON: a request may name its columns by anything that JSON has, such as lists or huge numbers."""
    column = problem.column
    is_plain = column is None or isinstance(column, str) or (isinstance(column, int) and abs(column) < 2**53)
    return asdict(problem) | {"column": column if is_plain else str(column)}


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
