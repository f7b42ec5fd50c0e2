"""What is wrong with a request, said once and said precisely.

Rejected                the request is wrong: an HTTP 4xx, never the server's fault
├── MalformedPayload    the body cannot be read as any format that is served
│   └── NestedTooDeeply because more lists and objects stand in one another than are read
├── TooCostly           to decide on it takes more memory than a request may have: 413
└── SignatureMismatch   it can be read, and the model's signature rejects it
Failure                 the request is not answered, through no fault of its own: an HTTP 5xx for it alone
└── DecidedTooLate      enforcement takes longer than a request may
EnforcementMissing      what enforcement needs is not installed: the server's fault
EnforcementFailed       the enforcement service ended, or failed, without a decision (see `enforcement.service_client`)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from signet_contract.model_input import EXACT

MAX_VIOLATIONS = 20
_MAX_MESSAGE, _MAX_TEXT = 4000, 500

Rule = Literal["columns", "type", "null", "finite", "empty", "shape", "params", "format", "model", "signature"]
RULES: tuple[Rule, ...] = get_args(Rule)


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with one value, column or body.

    `row` counts from 0 in the order the rows came; None where the violation is not of one row. `column` is the
    signature's or the request's name of the column, None where the violation is not of one column. `rule` is one of a
    closed set of short words, safe to count by.
    """

    rule: Rule
    expected: str
    got: str
    row: int | None = None
    column: str | int | None = None


class Rejected(Exception):
    """A request that is answered with an HTTP 4xx.

    `message` is one sentence for people, `violations` the list for programs, and `more` counts the violations that were
    found and are not in it. A large body may have others: it is looked at no further than it takes to know that it is
    wrong. A long message is cut.
    """

    status = 400

    def __init__(self, message: str, violations: Sequence[Violation], more: int = 0) -> None:
        self.message = cut(message, _MAX_MESSAGE)
        super().__init__(self.message)
        self.violations = violations
        self.more = more
        self.written: bytes | None = None
        """The rejection's HTTP body, once it was answered."""

    @property
    def rule(self) -> Rule:
        """The first rule that the request broke."""
        return self.violations[0].rule

    def document(self, **about: str) -> dict[str, object]:
        """The JSON answer: at most `MAX_VIOLATIONS` violations, and how many more were found.

        Args:
            about: what else it says, such as the `model` and its `version`.
        """
        answer: dict[str, object] = {
            "code": self.status,
            "type": "MlflowException",
            "message": self.message,
            **about,
            "errors": [_entry(violation) for violation in self.violations[:MAX_VIOLATIONS]],
        }
        if more := max(0, len(self.violations) - MAX_VIOLATIONS) + self.more:
            answer["more_errors"] = more
        return answer


def listed(names: Sequence[object]) -> str:
    """The names as Python writes a list: the first of them, each cut if it is long, and whether there are more."""
    first = [cut(name) if isinstance(name, str) else name for name in names[:MAX_VIOLATIONS]]
    return f"{first} and more" if len(names) > len(first) else f"{first}"


def cut(text: str, length: int = _MAX_TEXT) -> str:
    """The text, or if it is longer than `length` its beginning."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _entry(violation: Violation) -> dict[str, object]:
    """A violation as JSON: a request may name its columns by anything that JSON has, such as lists or huge numbers."""
    column = violation.column
    is_number = isinstance(column, int) and abs(column) < EXACT
    return asdict(violation) | {
        "column": column if column is None or is_number else cut(str(column)),
        "expected": cut(violation.expected),
        "got": cut(violation.got),
    }


class MalformedPayload(Rejected):
    """The body is not one of the formats that are served; `expected` and `got` say which and what."""

    def __init__(self, message: str, *, expected: str, got: str) -> None:
        super().__init__(message, [Violation(rule="format", expected=expected, got=got)])


class NestedTooDeeply(MalformedPayload):
    """The body has more lists and objects in one another than a body may have."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"The body is nested too deeply: at most {most} lists and objects may stand in one another.",
            expected=f"at most {most} levels",
            got="JSON nested too deeply",
        )


class TooCostly(Rejected):
    """To decide on the request takes more memory than a request may have."""

    status = 413

    def __init__(self, size: int) -> None:
        super().__init__(
            f"The body has {size} bytes, and to check it against the signature takes more memory than one request may "
            "have: send fewer or smaller rows at once.",
            [Violation(rule="format", expected="a body that can be checked", got=f"a body of {size} bytes")],
        )


class SignatureMismatch(Rejected):
    """The model's signature does not admit the request."""


class Failure(Exception):
    """A request that is answered with an HTTP 5xx; the message is for its client and tells nothing of the inside."""

    status = 500

    def document(self, **about: str) -> dict[str, object]:
        """The JSON answer; `about` says what else it says."""
        return {"code": self.status, "type": type(self).__name__, "message": str(self), **about}


class DecidedTooLate(Failure):
    """Enforcement takes longer than a request may."""

    status = 504  # the gateway asks again after a 503

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"The check of this request against the signature took longer than {timeout_s:g} s.")


class EnforcementMissing(RuntimeError):
    """A request is not plainly right, and what enforcement needs is not installed.

    Args:
        module: what cannot be imported.
    """

    def __init__(self, module: str | None) -> None:
        super().__init__(
            f"A request has to be decided on by MLflow's own check, and the module {module} is not installed: "
            "pip install 'signet-contract[enforcement]'"
        )
