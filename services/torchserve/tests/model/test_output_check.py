"""What programs return, held to what their signatures promise by the handler that loads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
import torch
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec
from models import Formula, Server, body, rows
from signet_torchserve.archive.load_failure import LoadFailure
from signet_torchserve.errors import NotServable

INPUTS = Schema([TensorSpec(np.dtype("float32"), (-1, 4))])
LABELS = {"0": "SETOSA", "1": "VERSICOLOR", "2": "VIRGINICA"}


def tensor(*shape: int, dtype: str = "float32", name: str | None = None) -> TensorSpec:
    return TensorSpec(np.dtype(dtype), shape, name)


def folder(path: Path, function: Any, outputs: Sequence[Any], example: Any = None, **files: Any) -> Path:
    """Unpacked archive of a function of four columns, whose signature promises `outputs`."""
    signature = ModelSignature(INPUTS, Schema(list(outputs)) if outputs else None)
    model = models.save(
        path / "model", Formula(function), rows(5, 4) if example is None else example, signature, **files
    )
    return models.unpack(model, path / "served")


def ask(server: Server, count: int) -> Any:
    (answer,) = server.answer(body({"inputs": rows(count, 4).tolist()}))
    assert answer.status == 200, answer.content
    return answer.json()["predictions"]


def squeezed(x: torch.Tensor) -> torch.Tensor:
    return x.sum(1, keepdim=True).squeeze()


FITTING: list[tuple[Any, list[Any], dict[str, Any]]] = [
    # what is returned, what is promised, files beside the model
    (lambda x: x, [tensor(-1, 4)], {}),
    (lambda x: x, [tensor(-1, 4, dtype="float64")], {}),
    (lambda x: x.argmax(1), [tensor(-1, dtype="float32")], {}),
    (lambda x: x.argmax(1), [tensor(-1, dtype="int32")], {}),
    (lambda x: x.sum(), [TensorSpec(np.dtype("float32"), ())], {}),
    (lambda x: x, [], {}),
    (lambda x: x, [ColSpec("double") for _ in range(4)], {}),
    (lambda x: x.sum(1), [ColSpec("double", "price")], {}),
    (lambda x: x.sum(1, keepdim=True), [ColSpec("double", "price")], {}),
    (lambda x: {"b": x.sum(1), "a": x}, [tensor(-1, 4, name="a"), tensor(-1, name="b")], {}),
    (lambda x: (x, x.sum(1)), [tensor(-1, 4, name="a"), tensor(-1, name="b")], {}),
    (lambda x: x[:, :3], [ColSpec("string")], {"index_to_name": LABELS}),
    (lambda x: x[:, :3], [tensor(-1, dtype="int64")], {"index_to_name": LABELS}),
]


@pytest.mark.parametrize(("function", "promised", "files"), FITTING)
def test_outputs_that_fit_are_served(function: Any, promised: list[Any], files: dict[str, Any], tmp_path: Path) -> None:
    """Other widths of floats, whole numbers for numbers, and labels for whatever is promised are no misfits."""
    server = Server(folder(tmp_path, function, promised, **files))
    for count in (1, 2, 4):
        ask(server, count)
    assert LoadFailure.of(tmp_path / "served" / "unpacked") is None


LOST: list[tuple[Any, list[Any], dict[str, Any]]] = [
    (squeezed, [tensor(-1)], {}),
    (squeezed, [], {}),
    (squeezed, [ColSpec("double", "price")], {}),
    (lambda x: x[:, None].squeeze(), [tensor(-1, 4)], {}),
    (lambda x: x[:, None].squeeze(), [ColSpec("double") for _ in range(4)], {}),
    (lambda x: {"sum": squeezed(x), "all": x}, [tensor(-1, name="sum"), tensor(-1, 4, name="all")], {}),
    (lambda x: {"sum": squeezed(x), "all": x}, [tensor(-1, 4, name="all"), tensor(-1, name="sum")], {}),
    (lambda x: [x, squeezed(x)], [tensor(-1, 4, name="a"), tensor(-1, name="b")], {}),
    (lambda x: x[:, None, :3].squeeze(), [ColSpec("string")], {"index_to_name": LABELS}),
]


@pytest.mark.parametrize(("function", "promised", "files"), LOST)
def test_a_single_row_is_answered_in_the_form_of_several(
    function: Any, promised: list[Any], files: dict[str, Any], tmp_path: Path
) -> None:
    """What `squeeze()` has taken from a single row is put back, alone and among others."""
    server = Server(folder(tmp_path, function, promised, **files))
    alone = ask(server, 1)
    assert form(alone) == form(ask(server, 2))
    requests = [body({"inputs": rows(1, 4).tolist()})] * 3
    assert [answer.json()["predictions"] for answer in server.answer(*requests)] == [alone] * 3


def form(value: Any) -> Any:
    """How deep lists and dicts are nested in one another, whatever their lengths."""
    if isinstance(value, dict):
        return tuple((name, form(inner)) for name, inner in value.items())
    return frozenset(map(form, value)) if isinstance(value, list) else None


MISFITS: list[tuple[Any, list[Any], str]] = [
    (
        lambda x: x.sum(1, keepdim=True),
        [tensor(-1)],
        "The program answers 1 row with an output of the shape (1, 1), but its signature promises (-1,).",
    ),
    (squeezed, [tensor(-1, 1)], "The program answers 1 row with an output of the shape (), but its signature promises"),
    (lambda x: x, [tensor(-1, 3)], "The program answers 1 row with an output of the shape (1, 4), but its signature"),
    (lambda x: x.sum(), [tensor(-1)], "The program answers 2 rows with an output of the shape (), but its signature"),
    (lambda x: x, [tensor(-1, 4, dtype="int64")], "The program returns numbers as an output, but its signature prom"),
    (lambda x: x > 0, [tensor(-1, 4)], "The program returns booleans as an output, but its signature promises numb"),
    (lambda x: (x, x), [tensor(-1, 4)], "The program returns 2 outputs, but its signature promises 1."),
    (
        lambda x: {"a": x, "b": x},
        [tensor(-1, 4, name="a"), tensor(-1, 4, name="c")],
        "The program returns the outputs ['a', 'b'], but its signature promises ['a', 'c'].",
    ),
    (lambda x: x, [ColSpec("double")] * 3, "The program answers 1 row with an output of the shape (1, 4), but its si"),
    (lambda x: x, [ColSpec("string")] * 4, "The program returns numbers as an output, but its signature promises text"),
]


@pytest.mark.parametrize(("function", "promised", "message"), MISFITS)
def test_outputs_other_than_promised_are_refused(
    function: Any, promised: list[Any], message: str, tmp_path: Path
) -> None:
    """Another rank, another size, another kind of values or other names, found for one, two and three rows."""
    unpacked = folder(tmp_path, function, promised)
    with pytest.raises(NotServable) as caught:
        Server(unpacked)
    assert str(caught.value).startswith(message)
    assert LoadFailure.of(unpacked) == LoadFailure(str(caught.value), is_final=True)


@pytest.mark.parametrize(
    ("function", "got"),
    [
        (lambda x: {"scores": x}, "several outputs"),
        (lambda x: (x, x.argmax(1)), "several outputs"),
        (lambda x: x[:, :1], "float32 of the shape (1, 1)"),
        (lambda x: x[:, 0], "float32 of the shape (1,)"),
        (lambda x: x[:, 0] > 0, "bool of the shape (1,)"),
        (lambda x: x[:, None], "float32 of the shape (1, 1, 4)"),
        (lambda x: (x > 0).long(), "int64 of the shape (1, 4)"),
        (lambda x: x.sum().long(), "int64 of the shape ()"),
    ],
)
def test_outputs_without_one_class_a_row_are_refused_where_classes_have_names(
    function: Any, got: str, tmp_path: Path
) -> None:
    """They would be answered as bare numbers to clients who expect names."""
    with pytest.raises(NotServable) as caught:
        Server(folder(tmp_path, function, [], index_to_name=LABELS))
    assert str(caught.value).startswith(
        f"The version names classes (index_to_name.json), and its program returns {got}:"
    )


def even(x: torch.Tensor) -> torch.Tensor:
    return x * 3 if x.shape[0] % 2 == 0 else x * 2


@pytest.mark.parametrize(("function", "example"), [(even, rows(4, 4)), (lambda x: x, rows(1, 4))])
def test_rows_that_a_program_does_not_take_are_not_tried(function: Any, example: Any, tmp_path: Path) -> None:
    """It is held to its outputs for those that it takes."""
    Server(folder(tmp_path / "fits", function, [tensor(-1, 4)], example))
    with pytest.raises(NotServable, match="but its signature promises"):
        Server(folder(tmp_path / "misfits", function, [tensor(-1, 3)], example))


class Two(torch.nn.Module):
    """Two inputs, of which MLflow saves no example."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a + b).sum(1, keepdim=True)


@pytest.mark.parametrize(("outputs", "fits"), [([tensor(-1, 1)], True), ([tensor(-1)], False)])
def test_without_an_example_zeros_are_tried(outputs: list[Any], fits: bool, tmp_path: Path) -> None:
    """A program of several inputs is held to its outputs, too."""
    signature = ModelSignature(Schema([tensor(-1, 2, name="b"), tensor(-1, 2, name="a")]), Schema(outputs))
    model = models.save(tmp_path / "model", Two(), (rows(3, 2), rows(3, 2)), signature)
    unpacked = models.unpack(model, tmp_path / "served")
    if fits:
        Server(unpacked)
    else:
        with pytest.raises(NotServable, match=r"with an output of the shape \(1, 1\)"):
            Server(unpacked)


class Linear(torch.nn.Module):
    """Two inputs, of which the first must be of the weights' dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.layer(a) + b


def test_without_an_example_a_dtype_that_the_program_does_not_take_is_refused(tmp_path: Path) -> None:
    """No request could be answered. A dtype that is not the program's own is no obstacle if the program takes it."""
    logged = ModelSignature(Schema([tensor(-1, 2, name="a"), tensor(-1, 2, name="b")]))
    model = models.save(tmp_path / "model", Linear(), (rows(3, 2), rows(3, 2)), logged)
    models.resign(model, ModelSignature(Schema([tensor(-1, 2, name="b", dtype="float64"), tensor(-1, 2, name="a")])))
    Server(models.unpack(model, tmp_path / "taken"))
    models.resign(model, ModelSignature(Schema([tensor(-1, 2, name="b"), tensor(-1, 2, name="a", dtype="float64")])))
    with pytest.raises(NotServable, match=r"exported with float32, float32 and gets float64, float32"):
        Server(models.unpack(model, tmp_path / "refused"))


@pytest.mark.parametrize("outputs", [None, Schema([tensor(-1, 2)])])
def test_complex_outputs_of_complex_inputs_are_refused(outputs: Schema | None, tmp_path: Path) -> None:
    """The program says that it returns real numbers, as it does for those that it was exported with."""
    model = models.save(tmp_path / "model", Formula(lambda x: x * 2), rows(3, 2))
    models.resign(model, ModelSignature(Schema([tensor(-1, 2, dtype="complex64")]), outputs))
    with pytest.raises(NotServable, match="returns complex64 for the dtypes of its signature: expected real numbers"):
        Server(models.unpack(model, tmp_path / "served"))
