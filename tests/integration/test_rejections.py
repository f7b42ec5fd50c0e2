"""Rejections: a 400 that says what is wrong, in JSON, and never a 503."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from testing.repository import MODEL, SAMPLES

COLUMNS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
GOOD = [5.0, 3.4, 1.5, 0.2]
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
MISSING = (
    "Model is missing inputs ['sepal length (cm)', 'sepal width (cm)', 'petal length (cm)', 'petal width (cm)']."
    " Note that there were extra inputs: ['length (cm)', 'width (cm)']"
)


def _split(row: list[Any], columns: list[str] = COLUMNS) -> bytes:
    return json.dumps({"dataframe_split": {"columns": columns, "data": [row]}}).encode()


def _raw(token: str) -> bytes:
    """A dataframe_split whose first value is this token, JSON or not."""
    return _split(["@", *GOOD[1:]]).replace(b'"@"', token.encode())


def _type_message(column: str, dtype: str) -> str:
    return f"Incompatible input types for column {column}. Can not safely convert {dtype} to float64."


# (body, content type, how the message begins, rule of the first error, its column)
REJECTIONS: dict[str, tuple[bytes, str, str, str, str | None]] = {
    "the seed's wrong columns": (
        (SAMPLES / "sig_invalid_column_name.json").read_bytes(),
        JSON,
        MISSING,
        "columns",
        "sepal length (cm)",
    ),
    "the seed's wrong types": (
        (SAMPLES / "sig_invalid_data_type.json").read_bytes(),
        JSON,
        _type_message("sepal length (cm)", "int64"),
        "type",
        "sepal length (cm)",
    ),
    "integers in one column": (
        _split([5.0, 3, 1.5, 0.2]),
        JSON,
        _type_message(COLUMNS[1], "int64"),
        "type",
        COLUMNS[1],
    ),
    "a string": (
        _split([5.0, 3.4, "1.5", 0.2]),
        JSON,
        "Incompatible input types for column petal length (cm)",
        "type",
        COLUMNS[2],
    ),
    "a boolean": (_split([5.0, 3.4, 1.5, True]), JSON, _type_message(COLUMNS[3], "bool"), "type", COLUMNS[3]),
    "null": (_raw("null"), JSON, "", "null", COLUMNS[0]),
    "NaN": (_raw("NaN"), JSON, "", "null", COLUMNS[0]),
    "Infinity": (_raw("Infinity"), JSON, "", "finite", COLUMNS[0]),
    "-Infinity": (_raw("-Infinity"), JSON, "", "finite", COLUMNS[0]),
    "1e400": (_raw("1e400"), JSON, "", "finite", COLUMNS[0]),
    "a missing column": (
        _split(GOOD[:3], COLUMNS[:3]),
        JSON,
        "Model is missing inputs ['petal width (cm)'].",
        "columns",
        COLUMNS[3],
    ),
    "an extra column": (_split([*GOOD, 1.0], [*COLUMNS, "colour"]), JSON, "", "columns", "colour"),
    "no rows": (b'{"dataframe_split": {"columns": [], "data": []}}', JSON, "", "columns", COLUMNS[0]),
    "an empty body": (b"", JSON, "", "format", None),
    "malformed JSON": (b'{"data": [', JSON, "", "format", None),
    "JSON that is no table": (b"42", JSON, "", "format", None),
    "what is no UTF-8": (b'{"data": ["\xff"]}', JSON, "", "format", None),
    "two formats at once": (b'{"instances": [], "inputs": {}}', JSON, "", "format", None),
    "a form without data": (b"date=%7B%7D", FORM, "The form has no field 'data': it has ['date'].", "format", None),
    "a form of nothing": (b"hello", FORM, "The form has no field 'data'", "format", None),
    "a form with data and body": (b"data=1&body=%7B%7D", FORM, "The request has both a field 'data'", "format", None),
    "a key beside a format": (b'{"id": 7, "instances": []}', JSON, "The body has unknown keys beside", "format", None),
    "MLflow 1's split": (b'{"columns": ["a"], "data": [[1]]}', JSON, "The body has the keys", "format", None),
    "CSV in one line": (b"a,b,c,d1,2,3,4", "text/csv", "The CSV has one line", "format", None),
    "CSV with semicolons": (b"a;b;c;d\n1;2;3;4\n", "text/csv", "The CSV has semicolons", "format", None),
    "JSON that is called CSV": (b'{"instances": []}', "text/csv", "The body is JSON", "format", None),
    "CSV that is called JSON": (b"a,b\n1,2\n", JSON, "The body is not JSON", "format", None),
    "deep nesting": (b"[" * 100_000, JSON, "", "format", None),
}


@pytest.mark.parametrize("name", REJECTIONS)
def test_rejection(url: str, name: str) -> None:
    """400 in JSON: code, type, message, the model and its version, and the first error by rule and column."""
    _require_rejected(url, REJECTIONS[name])


def test_a_form_with_data_twice(url: str) -> None:
    """It is refused, where TorchServe as shipped hands on the last one and says nothing of the first."""
    body = b"data=%7B%7D&data=%7B%7D"
    _require_rejected(url, (body, FORM, "The request has a field more than", "format", None))


def _require_rejected(url: str, rejection: tuple[bytes, str, str, str, str | None]) -> None:
    body, content_type, begins, rule, column = rejection
    answer = requests.post(url, data=body, headers={"Content-Type": content_type}, timeout=10)
    assert answer.status_code == 400, f"{answer.status_code} {answer.text}"
    assert answer.headers["Content-Type"] == JSON
    document = answer.json()
    assert document["code"] == 400
    assert document["type"] == "MlflowException"
    assert document["message"].startswith(begins)
    assert document["message"].strip()
    assert document["model"] == MODEL
    assert document["version"] == answer.headers["X-Model-Version"]
    first = document["errors"][0]
    assert set(first) == {"row", "column", "rule", "expected", "got"}
    assert (first["rule"], first["column"]) == (rule, column)


def test_row_is_named(url: str) -> None:
    """The error says in which row the value stands, counted from 0."""
    rows = [GOOD, GOOD, [5.0, None, 1.5, 0.2]]
    body = {"dataframe_split": {"columns": COLUMNS, "data": rows}}
    answer = requests.post(url, json=body, timeout=10)
    assert answer.status_code == 400
    first = answer.json()["errors"][0]
    assert (first["row"], first["column"], first["rule"]) == (2, COLUMNS[1], "null")


def test_bad_requests_never_harm_their_neighbours(url: str) -> None:
    """Of hundreds of good and bad requests at once, each gets the answer it gets alone; none gets a 503."""
    good = (SAMPLES / "sample.json").read_bytes()
    names = list(REJECTIONS)
    asked = [None if n % 2 else names[n // 2 % len(names)] for n in range(400)]
    random.Random(7).shuffle(asked)  # noqa: S311 -- an order, no secret
    expected = {name: _ask(url, *REJECTIONS[name][:2]) for name in names}

    def ask(name: str | None) -> tuple[int, str]:
        return _ask(url, good, JSON) if name is None else _ask(url, *REJECTIONS[name][:2])

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, asked))
    for name, answer in zip(asked, answers, strict=True):
        assert answer == ((200, "SETOSA") if name is None else expected[name])


def _ask(url: str, body: bytes, content_type: str) -> tuple[int, str]:
    answer = requests.post(url, data=body, headers={"Content-Type": content_type}, timeout=30)
    return answer.status_code, answer.text
