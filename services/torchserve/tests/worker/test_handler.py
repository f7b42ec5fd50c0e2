from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import quote

import mlflow.pyfunc
import models
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from models import Difference, Formula, Server, Weighted, body, form, rows
from signet_torchserve.worker.worker_loop import Request

from testing.oracle import columns_schema

IRIS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
LABELS = {"0": "SETOSA", "1": "VERSICOLOR", "2": "VIRGINICA"}


def columns(*specs: tuple[Any, ...]) -> ModelSignature:
    return ModelSignature(columns_schema(*specs))


def tensors(*specs: tuple[Any, ...]) -> ModelSignature:
    return ModelSignature(Schema([TensorSpec(np.dtype(dtype), shape, *name) for dtype, shape, *name in specs]))


FOUR = columns(*(("double", name) for name in IRIS))
MIXED = columns(("double", "d"), ("float", "f"), ("long", "l"), ("integer", "i"), ("boolean", "b"))
MIXED_ROWS = {"d": [1.5, -2.5], "f": [0.1, 3.0], "l": [7, -8], "i": [3, 4], "b": [True, False]}


def _scores(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([x.sum(1), x[:, 0] * 3, -x[:, 1]], 1)


# name: (module, example, signature, request, what pyfunc is asked)
TABLE: dict[str, tuple[Any, Any, ModelSignature | None, Any, Any]] = {
    "columns to classes": (
        Formula(lambda x: _scores(x).argmax(1)),
        rows(3, 4),
        FOUR,
        {"inputs": {name: [index + 0.5, -index - 0.25] for index, name in enumerate(IRIS)}},
        pd.DataFrame({name: [index + 0.5, -index - 0.25] for index, name in enumerate(IRIS)}),
    ),
    "columns to scores": (
        Formula(_scores),
        rows(3, 4),
        FOUR,
        {"dataframe_split": {"columns": IRIS[::-1], "data": [[1.5, 2.5, 3.5, 4.25]]}},
        pd.DataFrame([[4.25, 3.5, 2.5, 1.5]], columns=IRIS),
    ),
    "columns of several types": (
        Formula(lambda x: x * 2),
        np.ones((3, 5), np.float32),
        MIXED,
        {"inputs": MIXED_ROWS},
        pd.DataFrame(MIXED_ROWS).astype({"f": "float32", "i": "int32"}),
    ),
    "unnamed columns": (
        Formula(lambda x: x.sum(1)),
        rows(3, 2),
        columns(("double", None), ("double", None)),
        {"inputs": [[1.5, 2.5], [3.5, 4.5]]},
        pd.DataFrame([[1.5, 2.5], [3.5, 4.5]]),
    ),
    "an optional column": (
        Formula(lambda x: x.nan_to_num(9)),
        rows(3, 2),
        columns(("double", "a"), ("double", "b", False)),
        {"inputs": {"a": [1.5, 2.5], "b": [None, 1.5]}},
        pd.DataFrame({"a": [1.5, 2.5], "b": [None, 1.5]}),
    ),
    "a tensor": (
        Formula(lambda x: x @ torch.ones(4, 2)),
        rows(3, 4),
        None,
        {"inputs": rows(2, 4).tolist()},
        rows(2, 4),
    ),
    "a tensor, as a table": (
        Formula(lambda x: x + 1),
        rows(3, 2),
        None,
        {"dataframe_split": {"data": [[1.5, 2], [3, 4.5]], "index": [5, 5]}},
        pd.DataFrame([[1.5, 2], [3, 4.5]], dtype="float32"),
    ),
    "a tensor of free width": (
        Formula(lambda x: x.cumsum(1)),
        rows(3, 4),
        tensors(("float32", (-1, -1))),
        {"instances": rows(2, 7).tolist()},
        rows(2, 7),
    ),
    "a tensor to three dimensions": (
        Formula(lambda x: x[:, :, None] * x[:, None, :]),
        rows(3, 2),
        None,
        {"inputs": rows(2, 2).tolist()},
        rows(2, 2),
    ),
    "images": (
        Formula(lambda x: x.mean((1, 2))),
        rows(2, 4, 4, 3),
        None,
        {"inputs": rows(2, 4, 4, 3).tolist()},
        rows(2, 4, 4, 3),
    ),
    "int64": (
        Formula(lambda x: x * 2),
        rows(3, 2, dtype="int64"),
        None,
        {"inputs": [[2**53 + 1, 2.0]]},
        np.array([[2**53 + 1, 2]]),
    ),
    "uint8": (
        Formula(lambda x: x + 1),
        rows(3, 2, dtype="uint8"),
        None,
        {"inputs": [[255, 7]]},
        np.array([[255, 7]], "uint8"),
    ),
    "bool": (
        Formula(lambda x: ~x),
        rows(3, 2, dtype="bool"),
        None,
        {"inputs": [[True, False]]},
        np.array([[True, False]]),
    ),
    "float64": (
        Formula(lambda x: x / 3),
        rows(3, 2, dtype="float64"),
        None,
        {"inputs": [[0.1, 1]]},
        np.array([[0.1, 1]]),
    ),
    "float16": (
        Formula(lambda x: x * 3),
        rows(3, 2, dtype="float16"),
        None,
        {"inputs": [[0.5, 1]]},
        np.array([[0.5, 1]], "float16"),
    ),
    "one dimension": (
        Formula(lambda x: x * 3),
        rows(3),
        None,
        {"inputs": [0.5, 1, 2]},
        np.array([0.5, 1, 2], "float32"),
    ),
    "a fixed number of rows": (
        Formula(lambda x: x * 3),
        rows(1, 2),
        tensors(("float32", (1, 2))),
        {"inputs": [[0.5, 1]]},
        np.array([[0.5, 1]], "float32"),
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_served_output_is_pyfuncs(name: str, tmp_path: Path) -> None:
    """What is served is what `mlflow.pyfunc` predicts, written as MLflow's scoring server writes it."""
    module, example, signature, request, asked = TABLE[name]
    model = models.save(tmp_path / "model", module, example, signature)
    with warnings.catch_warnings(action="ignore"):  # torch's, on an array of pandas that MLflow passes on
        predicted = mlflow.pyfunc.load_model(str(model)).predict(asked)
    (answer,) = Server(models.unpack(model, tmp_path / "mar")).answer(body(request))
    assert answer.status == 200, answer.content
    assert answer.content_type == "application/json"
    if isinstance(predicted, pd.DataFrame):
        predicted.columns = predicted.columns.map(str)
        expected = predicted.to_dict(orient="records")
    else:
        expected = predicted.tolist()
    np.testing.assert_equal(answer.json(), {"predictions": expected})


@pytest.mark.parametrize(
    "request_body",
    [
        {"inputs": {"b": [[1.0, 2.0]], "a": [[5, 5.5]]}},
        {"instances": [{"b": [1.0, 2.0], "a": [5.0, 5.5]}]},
        {"dataframe_split": {"columns": ["b", "a"], "data": [[[1.0, 2.0], [5.0, 5.5]]]}},
        {"dataframe_records": [{"a": [5.0, 5.5], "b": [1.0, 2.0]}]},
    ],
)
@pytest.mark.parametrize("names", [("a", "b"), ("left", "right")])
def test_named_tensors_reach_the_inputs_of_their_names(
    request_body: dict[str, Any], names: tuple[str, str], tmp_path: Path
) -> None:
    """Named tensors, which pyfunc cannot predict, are fed by name, or by place where the program's names differ."""
    signature = tensors(*(("float32", (-1, 2), name) for name in names))
    model = models.save(tmp_path / "model", Difference(), (rows(3, 2), rows(3, 2)), signature)
    server = Server(models.unpack(model, tmp_path / "mar"))
    renamed = json.dumps(request_body).replace('"a"', f'"{names[0]}"').replace('"b"', f'"{names[1]}"')
    (answer,) = server.answer(body(renamed.encode()))
    assert answer.json() == {"predictions": [[4.0, 3.5]]}


@pytest.fixture(scope="module", params=[3, -1], ids=["a fixed width", "a free width"])
def weighted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A model of one required column and two optional ones, whose program takes this many columns."""
    folder = tmp_path_factory.mktemp("weighted")
    model = models.save(folder / "model", Weighted(), rows(3, 3), tensors(("float32", (-1, request.param))))
    models.resign(model, columns(("double", "r"), ("double", "o1", False), ("float", "o2", False)))
    return Server(models.unpack(model, folder / "mar"))


@pytest.mark.parametrize("rows_", [1, 300])
@pytest.mark.parametrize("is_slow", [False, True], ids=["the fast way", "the slow way"])
@pytest.mark.parametrize("key", ["split", "records", "columns", "csv"])
@pytest.mark.parametrize("names", [["r"], ["o1", "r"], ["r", "o2"], ["o2", "o1", "r"]], ids=" ".join)
def test_an_optional_column_that_is_left_out_moves_no_other(
    names: list[str], key: str, rows_: int, weighted: Server, *, is_slow: bool
) -> None:
    """Each column is fed in its own place, whichever others are there, and NaN in the places of the others."""
    places = {"r": 1, "o1": 10, "o2": 100}
    row = {name: 1.5 + place for place, name in enumerate(names)}
    if is_slow:
        row["r"] = 1e30  # which the fast way leaves to MLflow
    documents: dict[str, Any] = {
        "split": {"dataframe_split": {"columns": names, "data": [list(row.values())] * rows_}},
        "records": {"instances": [row] * rows_},
        "columns": {"inputs": {name: [value] * rows_ for name, value in row.items()}},
    }
    csv = "\n".join([",".join(names), *[",".join(map(str, row.values()))] * rows_]).encode()
    (answer,) = weighted.answer(body(csv, "text/csv") if key == "csv" else body(documents[key]))
    assert answer.status == 200, answer.content
    answered = answer.json()
    if key != "csv":
        answered = [prediction["0"] for prediction in answered["predictions"]]
    expected = sum(value * places[name] for name, value in row.items())
    assert np.ravel(answered).tolist() == pytest.approx([expected] * rows_)


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The seed's kind of model: four doubles, a class, labels."""
    folder = tmp_path_factory.mktemp("iris")
    model = models.save(
        folder / "model", Formula(lambda x: _scores(x).argmax(1)), rows(3, 4), FOUR, index_to_name=LABELS
    )
    return Server(models.unpack(model, folder / "mar"))


SETOSA = {name: {"0": value} for name, value in zip(IRIS, [0.1, 3.2, 1.3, 0.2], strict=True)}
TWO = {name: {"0": a, "1": b} for name, a, b in zip(IRIS, [0.1, 3.2, 1.3, 0.2], [0.1, -50.5, 0.5, 0.5], strict=True)}
CSV = ",".join(IRIS) + "\n0.1,3.2,1.3,0.2\n"
SPLIT = {"columns": IRIS, "data": [[0.1, 3.2, 1.3, 0.2], [0.1, -50.5, 0.5, 0.5]]}
MEDIA_TEXT = "text/plain; charset=utf-8"
MEDIA_JSON = "application/json"


@pytest.mark.parametrize(
    ("request_", "content", "media"),
    [
        (body({"data": [json.dumps(SETOSA)]}), b"SETOSA", MEDIA_TEXT),
        (body({"data": json.dumps(SETOSA)}), b"SETOSA", MEDIA_TEXT),
        (body({"data": [json.dumps(SETOSA)]}, ""), b"SETOSA", MEDIA_TEXT),
        (body({"data": [json.dumps(SETOSA)]}, "application/vnd.iris+json"), b"SETOSA", MEDIA_TEXT),
        (body({"data": [json.dumps(TWO)]}), b'["SETOSA","VIRGINICA"]', MEDIA_JSON),
        (body({"data": [json.dumps(SETOSA), json.dumps(TWO)]}), b'["SETOSA","SETOSA","VIRGINICA"]', MEDIA_JSON),
        (body(SETOSA), b"SETOSA", MEDIA_TEXT),
        (body([{name: value["0"] for name, value in SETOSA.items()}]), b"SETOSA", MEDIA_TEXT),
        (body(CSV.encode(), "text/csv"), b"SETOSA", MEDIA_TEXT),
        (body(CSV.encode(), "text/csv; charset=utf-8"), b"SETOSA", MEDIA_TEXT),
        (form({"data": json.dumps(SETOSA).encode()}), b"SETOSA", MEDIA_TEXT),
        (form({"data": json.dumps(TWO).encode(), "more": b"x"}), b'["SETOSA","VIRGINICA"]', MEDIA_JSON),
        (body({"dataframe_split": SPLIT}), b'{"predictions":["SETOSA","VIRGINICA"]}', MEDIA_JSON),
        (
            form({"data": json.dumps({"dataframe_split": SPLIT}).encode()}),
            b'{"predictions":["SETOSA","VIRGINICA"]}',
            MEDIA_JSON,
        ),
        (body({"dataframe_split": SPLIT, "params": {"x": 1}}), b'{"predictions":["SETOSA","VIRGINICA"]}', MEDIA_JSON),
    ],
)
def test_answers_follow_the_request(iris: Server, request_: Request, content: bytes, media: str) -> None:
    """The seed's formats get the bare label or a list of them, MLflow's get `{"predictions": …}`."""
    (answer,) = iris.answer(request_)
    assert (answer.status, answer.content) == (200, content)
    assert answer.content_type == media


REFUSED = {
    "explanation": body(SETOSA, is_explanation=True),
    "missing": body({"a": 1.5}),
    "type": body({"inputs": {name: [5] for name in IRIS}}),
    "JSON": body(b"{"),
    "form": form({"other": b"{}"}),
    "empty": body(b""),
    "no request": form({}),
    "form that is no JSON": form({"data": quote("{}").encode()}),
    "bytes": body(b"\xff\xfe"),
    "a field twice": Request(b"1", {"data": json.dumps(SETOSA).encode()}, repeated="data"),
    "a field and a body": form({"data": json.dumps(SETOSA).encode(), "body": json.dumps(SETOSA).encode()}),
}


def test_a_mixed_batch_is_answered_as_if_each_request_were_alone(iris: Server) -> None:
    """Good and bad requests share a batch: each gets, in order, exactly the answer that it gets alone."""
    good = [body(SETOSA), body({"dataframe_split": SPLIT}), body({"data": [json.dumps(TWO)]})]
    bad = list(REFUSED.values())
    mixed = [good[0], *bad[:3], good[1], *bad[3:], good[2], good[0]]
    alone = [iris.answer(request)[0] for request in mixed]
    together = iris.answer(*mixed)
    assert [answer.content for answer in together] == [answer.content for answer in alone]
    assert [answer.status for answer in together] == [200, 400, 400, 400, 200, *[400] * 8, 200, 200]
    assert [answer.content_type for answer in together] == [answer.content_type for answer in alone]
    for answer in together:
        if answer.status == 400:
            rejection = answer.json()
            assert answer.content_type == "application/json"
            assert rejection.keys() == {"code", "type", "message", "model", "version", "errors"}
            assert (rejection["code"], rejection["type"]) == (400, "MlflowException")
            assert (rejection["model"], rejection["version"]) == ("iris_classification", "7")
            assert rejection["errors"]
            assert all(error.keys() == {"row", "column", "rule", "expected", "got"} for error in rejection["errors"])


def test_a_batch_of_bad_requests_never_calls_the_program(iris: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """If every request of a batch is refused, the program is not run."""
    monkeypatch.delattr(iris.handler, "program")
    assert {answer.status for answer in iris.answer(*REFUSED.values())} == {400}


def test_long_rejections_are_cut_at_twenty(iris: Server) -> None:
    """A body with many problems gets twenty of them and the number of the rest."""
    (answer,) = iris.answer(body({"inputs": {name: [5] * 10 for name in IRIS}}))
    assert len(answer.json()["errors"]) == 20
    assert answer.json()["more_errors"] == 20


def test_what_the_model_refuses_harms_no_neighbour(tmp_path: Path) -> None:
    """An input that the signature admits and the program refuses is a 400; its neighbours get their answers."""
    table = torch.nn.Embedding(3, 2)
    model = models.save(tmp_path / "model", table, np.array([0, 1, 2]), tensors(("int64", (-1,))))
    server = Server(models.unpack(model, tmp_path / "mar"))
    good, bad = body({"inputs": [1, 2]}), body({"inputs": [0, 99]})
    (expected,) = server.answer(good)
    answers = server.answer(good, bad, good)
    assert [answer.status for answer in answers] == [200, 400, 200]
    assert answers[0].content == answers[2].content == expected.content
    assert answers[1].json()["message"].startswith("The signature admits this input, but the model refuses it: ")
    assert answers[1].json()["errors"][0]["rule"] == "model"


def test_widths_that_differ_share_no_forward_pass(tmp_path: Path) -> None:
    """Requests of several widths in one batch each get the answer that they get alone."""
    model = models.save(tmp_path / "model", Formula(lambda x: x.cumsum(1)), rows(3, 4), tensors(("float32", (-1, -1))))
    server = Server(models.unpack(model, tmp_path / "mar"))
    batch = [body({"inputs": rows(2, width).tolist()}) for width in (2, 5, 2)]
    alone = [server.answer(request)[0].content for request in batch]
    assert [answer.content for answer in server.answer(*batch)] == alone


def test_a_program_of_fixed_rows_is_called_for_each_request(tmp_path: Path) -> None:
    """A program exported for one row answers a batch one by one."""
    model = models.save(tmp_path / "model", Formula(lambda x: x * 3), rows(1, 2), tensors(("float32", (1, 2))))
    server = Server(models.unpack(model, tmp_path / "mar"))
    answers = server.answer(*(body({"inputs": [[value, 1.5]]}) for value in (0.5, 1.5)))
    assert [answer.json()["predictions"] for answer in answers] == [[[1.5, 4.5]], [[4.5, 4.5]]]


def test_rows_that_depend_on_one_another_are_never_batched(tmp_path: Path) -> None:
    """A program whose rows depend on one another answers each request of a batch as if it were alone."""
    model = models.save(tmp_path / "model", Formula(lambda x: x - x.mean(0)), rows(3, 2), tensors(("float32", (-1, 2))))
    server = Server(models.unpack(model, tmp_path / "mar"))
    batch = [body({"inputs": [[value, 1.0], [3.0, 2.0]]}) for value in (0.5, 1.5, 9.0)]
    alone = [server.answer(request)[0].content for request in batch]
    for _ in range(20):
        server.answer(batch[0], batch[0])  # proves nothing
    for _ in range(20):
        assert [answer.content for answer in server.answer(*batch)] == alone


def test_a_row_without_numbers_for_scores_has_no_label(tmp_path: Path) -> None:
    """Such a row is answered with null in every format; its neighbours, in the request and the batch, have theirs."""
    model = models.save(
        tmp_path / "model", Formula(lambda x: x.log()), rows(3, 2), columns(("double", "a"), ("double", "b")),
        index_to_name={"0": "A", "1": "B"},
    )  # fmt: skip
    server = Server(models.unpack(model, tmp_path / "mar"))
    values = {"a": [2.0, -1.0, 1.0], "b": [1.0, 1.0, 2.0]}
    odd, good = {"a": -1.0, "b": 1.0}, {"a": 1.0, "b": 2.0}
    answers = server.answer(*map(body, ({"inputs": values}, values, odd, good, {"instances": [odd]})))
    assert [answer.json() if answer.content_type == MEDIA_JSON else answer.content for answer in answers] == [
        {"predictions": ["A", None, "B"]},
        ["A", None, "B"],
        None,
        b"B",
        {"predictions": [None]},
    ]


def test_no_answer_holds_nan(tmp_path: Path) -> None:
    """NaN and infinities in an output are written as null, in every format."""
    model = models.save(
        tmp_path / "model", Formula(lambda x: 1 / x), rows(3, 2), columns(("double", "a"), ("double", "b"))
    )
    server = Server(models.unpack(model, tmp_path / "mar"))
    values = {"a": [0.0, -0.0], "b": [2.0, 4.0]}
    wrapped, bare = server.answer(body({"inputs": values}), body(values))
    assert wrapped.json() == {"predictions": [{"0": None, "1": 0.5}, {"0": None, "1": 0.25}]}
    assert bare.json() == [[None, 0.5], [None, 0.25]]
