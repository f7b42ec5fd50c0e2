"""Predictions over HTTP, in every format that is served."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import requests

from testing.repository import MODEL, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow.entities.model_registry import ModelVersion

COLUMNS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
ROWS = [[5.0, 3.4, 1.5, 0.2], [5.9, 2.8, 4.3, 1.3], [6.6, 3.0, 5.6, 2.0]]
LABELS = ["SETOSA", "VERSICOLOR", "VIRGINICA"]
RECORDS = [dict(zip(COLUMNS, row, strict=True)) for row in ROWS]
BY_COLUMN = {name: [row[i] for row in ROWS] for i, name in enumerate(COLUMNS)}
BY_INDEX = {name: {str(n): value for n, value in enumerate(values)} for name, values in BY_COLUMN.items()}
REORDERED = [dict(reversed(record.items())) for record in RECORDS]
SPLIT_REORDERED = {"columns": COLUMNS[::-1], "data": [row[::-1] for row in ROWS]}


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_sample(url: str, method: str) -> None:
    """The seed's sample is answered with the bare label as text, put or posted, with or without a Content-Type."""
    body = (SAMPLES / "sample.json").read_bytes()
    for headers in ({}, {"Content-Type": "application/json"}):
        answer = requests.request(method, url, data=body, headers=headers, timeout=10)
        assert (answer.status_code, answer.text) == (200, "SETOSA")
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert int(answer.headers["X-Model-Version"]) >= 1


@pytest.mark.parametrize("encoding", ["urlencoded", "multipart"])
@pytest.mark.parametrize("rows", [1, 3])
def test_form_field(url: str, encoding: str, rows: int) -> None:
    """The form field `data` of the seed's clients is answered like its file."""
    text = json.dumps({name: dict(list(values.items())[:rows]) for name, values in BY_INDEX.items()})
    if encoding == "urlencoded":
        answer = requests.post(url, data={"data": text}, timeout=10)
    else:
        answer = requests.post(url, files={"data": (None, text)}, timeout=10)
    assert answer.status_code == 200, answer.text
    assert (answer.json() if rows > 1 else answer.text) == (LABELS if rows > 1 else "SETOSA")


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"data": [json.dumps(BY_INDEX)]}, id="seed"),
        pytest.param({"data": [json.dumps({name: BY_INDEX[name] for name in COLUMNS[::-1]})]}, id="seed-reordered"),
        pytest.param({"data": [json.dumps(RECORDS)]}, id="seed-records"),
        pytest.param({"data": [json.dumps(record) for record in RECORDS]}, id="seed-several-texts"),
    ],
)
def test_several_rows_in_the_seeds_format(url: str, document: dict[str, Any]) -> None:
    """Several rows get a JSON list of as many labels, each row its own, whatever the columns' order."""
    answer = requests.post(url, json=document, timeout=10)
    assert (answer.status_code, answer.json()) == (200, LABELS)
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"dataframe_split": {"columns": COLUMNS, "data": ROWS}}, id="split"),
        pytest.param({"dataframe_split": SPLIT_REORDERED}, id="split-reordered"),
        pytest.param({"dataframe_records": RECORDS}, id="records"),
        pytest.param({"dataframe_records": REORDERED}, id="records-reordered"),
        pytest.param({"instances": RECORDS}, id="instances"),
        pytest.param({"instances": REORDERED}, id="instances-reordered"),
        pytest.param({"inputs": BY_COLUMN}, id="inputs"),
        pytest.param({"inputs": {name: BY_COLUMN[name] for name in COLUMNS[::-1]}}, id="inputs-reordered"),
    ],
)
@pytest.mark.parametrize("rows", [1, 3])
def test_mlflow_formats(url: str, document: dict[str, Any], rows: int) -> None:
    """MLflow's four formats get MLflow's answer, for one row and for many, whatever the columns' order."""
    answer = requests.post(url, json=_first(document, rows), timeout=10)
    assert (answer.status_code, answer.json()) == (200, {"predictions": LABELS[:rows]})
    assert answer.headers["Content-Type"] == "application/json"
    assert int(answer.headers["X-Model-Version"]) >= 1


def _first(document: dict[str, Any], rows: int) -> dict[str, Any]:
    """The same document with its first rows only."""
    ((name, content),) = document.items()
    if name == "dataframe_split":
        return {name: {**content, "data": content["data"][:rows]}}
    if name == "inputs":
        return {name: {column: values[:rows] for column, values in content.items()}}
    return {name: content[:rows]}


def test_charset_and_blanks(url: str) -> None:
    """A charset parameter and white space around the JSON change nothing."""
    body = b"\n\t " + (SAMPLES / "sample.json").read_bytes() + b" \r\n"
    answer = requests.post(url, data=body, headers={"Content-Type": "application/json; charset=utf-8"}, timeout=10)
    assert (answer.status_code, answer.text) == (200, "SETOSA")


def test_query_is_no_input(url: str) -> None:
    """What stands behind a question mark doesn't reach the model, and does no harm."""
    body = (SAMPLES / "sample.json").read_bytes()
    answer = requests.put(f"{url}?{urlencode({'x': 'y'})}", data=body, timeout=10)
    assert answer.status_code in {200, 400}, answer.text


def test_served_model_is_the_logged_model(url: str, champion: Callable[[], ModelVersion]) -> None:
    """All of Iris gets over HTTP exactly what mlflow.pyfunc predicts with the same version, and most of it is right."""
    import mlflow
    from sklearn.datasets import load_iris  # type: ignore[import-untyped]  # scikit-learn ships no types

    iris = load_iris(as_frame=True)
    frame = iris.data.astype("float64")
    assert list(frame.columns) == COLUMNS
    expected = mlflow.pyfunc.load_model(f"models:/{MODEL}/{champion().version}").predict(frame)
    answer = requests.post(url, json={"dataframe_split": frame.to_dict("split")}, timeout=30)
    # MLflow's own split has an `index`, too; it is no column.
    assert answer.status_code == 200, answer.text
    predictions = answer.json()["predictions"]
    assert predictions == [LABELS[int(index)] for index in _flat(expected)]
    right = sum(label == LABELS[target] for label, target in zip(predictions, iris.target, strict=True))
    assert right >= 0.93 * len(predictions)


def _flat(prediction: Any) -> list[Any]:
    """A pyfunc answers with an array or, for a data frame, with a frame of one column."""
    return list(prediction.to_numpy().reshape(-1) if hasattr(prediction, "to_numpy") else prediction.reshape(-1))
