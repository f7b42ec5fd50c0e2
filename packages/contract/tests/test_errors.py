from __future__ import annotations

import json
from typing import Any

import pytest
from signet_contract.errors import MalformedPayload, Rejected, SignatureMismatch, Violation, listed


@pytest.mark.parametrize("column", [None, "a", 0, 10**30, ("a", "b"), float("nan"), True])
def test_a_rejection_is_json_whatever_its_columns_are_called(column: Any) -> None:
    """Column names that came in a request never keep a rejection from being written."""
    body = Rejected("no", [Violation("type", "double", "string", row=1, column=column)]).document(
        model="iris", version="3"
    )
    json.dumps(body, allow_nan=False)
    assert body["errors"] == [
        {
            "row": 1,
            "column": column if column is None or column in ("a", 0, True) else str(column),
            "rule": "type",
            "expected": "double",
            "got": "string",
        }
    ]


@pytest.mark.parametrize(("count", "first", "more"), [(1, 1, None), (20, 20, None), (21, 20, 1), (1000, 20, 980)])
def test_the_list_is_cut_and_the_rest_counted(count: int, first: int, more: int | None) -> None:
    """At most twenty violations are listed."""
    body = SignatureMismatch("no", [Violation("null", "double", "null")] * count).document(model="iris", version="3")
    assert isinstance(body["errors"], list)
    assert len(body["errors"]) == first
    assert body.get("more_errors") == more
    counted = SignatureMismatch("no", [Violation("null", "double", "null")] * first, count - first)
    assert counted.document(model="iris", version="3") == body


def test_a_rejection_is_short_whatever_a_request_holds() -> None:
    """Names, values and messages of megabytes are cut, and of many names the first twenty are listed."""
    long = "x" * 1_000_000
    body = Rejected(f"no {long}", [Violation("type", long, long, column=long)] * 30).document(model="iris", version="3")
    assert len(json.dumps(body)) < 50_000
    assert listed(["a", 1]) == "['a', 1]"
    assert listed([long] * 100).endswith("…'] and more")
    assert len(listed([long] * 100)) < 11_000


def test_a_malformed_payload_has_one_problem() -> None:
    """What cannot be read is one violation of the rule `format`."""
    rejection = MalformedPayload("no", expected="JSON", got="nothing")
    assert rejection.violations == [Violation("format", "JSON", "nothing")]
    assert rejection.status == 400
