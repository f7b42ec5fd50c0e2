from __future__ import annotations

from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
import torch
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from models import Difference, Formula, rows
from signet_contract.errors import Rejected
from signet_contract.model_input import ModelInput
from signet_torchserve.archive import builder
from signet_torchserve.model.code_generation.graph import Graph
from signet_torchserve.model.program import Program


def program(folder: Path, function: Any, example: Any, signature: ModelSignature | None = None) -> Program:
    model = models.save(folder / "model", Formula(function), example, signature)
    return load(models.unpack(model, folder / "mar"))


def load(unpacked: Path) -> Program:
    """The program of an archive, as the handler loads it."""
    return Program(unpacked / "model.pt2", is_batch_invariant=not builder.why_alone(unpacked))


def model_input(inputs: Any) -> ModelInput:
    return ModelInput(inputs, {}, framed=False)


def test_inputs_that_share_a_pass_get_the_outputs_that_they_get_alone(tmp_path: Path) -> None:
    """Each input of a shared pass gets its own rows."""
    served = program(tmp_path, lambda x: x.sum(1), rows(3, 2))
    assert served._is_batch_invariant
    model_inputs = [model_input(rows(count, 2) + count) for count in (1, 3, 2)]
    assert [output.tolist() for output in served.run(model_inputs)] == [
        one.inputs.sum(1).tolist() for one in model_inputs
    ]


def test_rows_that_may_depend_on_their_neighbours_are_never_shared(tmp_path: Path) -> None:
    """A row is answered as it is alone, though its neighbour is one that a model of batches would scale it by."""
    served = program(tmp_path, lambda x: torch.where(x.abs().max() > 100, x / x.abs().max(), x), rows(3, 2))
    one, large, two = served.run([model_input(rows(1, 2)), model_input(rows(2, 2) * 1000), model_input(rows(1, 2) + 1)])
    np.testing.assert_array_equal(one, rows(1, 2))
    np.testing.assert_array_equal(large, rows(2, 2))
    np.testing.assert_array_equal(two, rows(1, 2) + 1)


def test_an_input_without_rows_is_answered_alone(tmp_path: Path) -> None:
    """It is refused beside others as it is alone."""
    served = program(tmp_path, lambda x: x.reshape(x.shape[0], -1).amax(1), rows(3, 2, 2))
    (alone,) = served.run([model_input(rows(0, 2, 2))])
    first, among, last = served.run(
        [model_input(rows(1, 2, 2)), model_input(rows(0, 2, 2)), model_input(rows(2, 2, 2))]
    )
    assert isinstance(alone, Rejected)
    assert isinstance(among, Rejected)
    assert (first.tolist(), last.tolist()) == ([-0.25], [-0.25, 0.75])


@pytest.mark.parametrize(("size", "threads"), [(2, 1), (700, 4)])
def test_a_small_program_has_one_thread(size: int, threads: int, tmp_path: Path) -> None:
    """What takes milliseconds keeps all of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        program(tmp_path, lambda x: x @ torch.ones(2, size) @ torch.ones(size, size).matrix_power(9), rows(3, 2))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def without_gradients(x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return x * 2


def test_a_program_that_only_pytorch_can_run_is_served(tmp_path: Path) -> None:
    """It shares passes and refuses what it cannot take, as any."""
    served = program(tmp_path, without_gradients, rows(3, 2))
    assert not isinstance(served._module, Graph)
    assert served._is_batch_invariant
    first, refused, last = served.run([model_input(rows(2, 2)), model_input(rows(2, 3)), model_input(rows(1, 2))])
    np.testing.assert_array_equal(first, rows(2, 2) * 2)
    assert isinstance(refused, Rejected)
    np.testing.assert_array_equal(last, rows(1, 2) * 2)


def test_outputs_of_several_tensors_are_kept_apart(tmp_path: Path) -> None:
    """A program with several outputs gives a list or dict of arrays, also in a batch."""
    served = program(tmp_path, lambda x: {"double": x * 2, "parts": (x + 1, x - 1)}, rows(3, 2))
    for output, one in zip(served.run([model_input(rows(1, 2)), model_input(rows(2, 2))]), (1, 2), strict=True):
        np.testing.assert_array_equal(output["double"], rows(one, 2) * 2)
        np.testing.assert_array_equal(output["parts"][0], rows(one, 2) + 1)
        np.testing.assert_array_equal(output["parts"][1], rows(one, 2) - 1)


@pytest.mark.parametrize("function", [lambda x: torch.complex(x, x).conj().imag, lambda x: {"a": x.neg()}])
def test_an_output_whose_sign_is_only_noted_is_written(function: Any, tmp_path: Path) -> None:
    """The imaginary part of a conjugate is a view with a bit for its sign, which numpy has not."""
    (output,) = program(tmp_path, function, rows(3, 2)).run([model_input(rows(2, 2))])
    np.testing.assert_array_equal(output["a"] if isinstance(output, dict) else output, -rows(2, 2))


def test_named_inputs_are_fed_by_name(tmp_path: Path) -> None:
    """Inputs that carry the program's names are fed by name, whatever order they come in."""
    named = Schema([TensorSpec(np.dtype("float32"), (-1, 2), name) for name in "ab"])
    model = models.save(tmp_path / "model", Difference(), (rows(3, 2), rows(3, 2)), ModelSignature(named))
    served = load(models.unpack(model, tmp_path / "mar"))
    one, two = rows(1, 2), rows(1, 2) * 3
    (output,) = served.run([model_input({"b": two, "a": one})])
    np.testing.assert_array_equal(output, one - two)


def test_an_array_that_must_not_be_written_is_fed(tmp_path: Path) -> None:
    """Pandas hands out arrays that are read-only: a program that writes to its input gets a copy of one."""
    served = program(tmp_path, lambda x: x.add_(1), rows(3, 2))
    array = rows(2, 2)
    array.flags.writeable = False
    (output,) = served.run([model_input(array)])
    np.testing.assert_array_equal(output, rows(2, 2) + 1)
    np.testing.assert_array_equal(array, rows(2, 2))


@pytest.mark.parametrize("bad", [rows(2, 3), rows(2), rows(1, 2, 2), rows(0, 2), np.array([["a"]], object)])
def test_an_input_that_the_program_cannot_take_is_refused(bad: Any, tmp_path: Path) -> None:
    """Another shape or type is a rejection in its place, alone and beside good ones, whose outputs are as ever."""
    served = program(tmp_path, lambda x: x[0] @ torch.ones(2, 1), rows(3, 2))
    (alone,) = served.run([model_input(bad)])
    first, refused, last = served.run([model_input(rows(2, 2)), model_input(bad), model_input(rows(2, 2))])
    assert isinstance(alone, Rejected)
    assert isinstance(refused, Rejected)
    assert refused.message == alone.message
    np.testing.assert_array_equal(first, last)


@pytest.mark.parametrize(
    ("dtype", "note"), [("float64", " (it was exported with float32 and gets float64)"), ("float32", "")]
)
def test_a_refusal_says_which_dtype_is_another(dtype: str, note: str, tmp_path: Path) -> None:
    """Where the inputs have the dtypes that the program was exported with, it says nothing of them."""
    served = program(tmp_path, lambda x: x @ torch.ones(2, 1), rows(3, 2))
    (refused,) = served.run([model_input(rows(2, 2 if note else 3, dtype=dtype))])
    assert isinstance(refused, Rejected)
    assert refused.message.endswith(note)
    assert ("exported with float" in refused.message) == bool(note)


@pytest.mark.parametrize(
    ("function", "bad"),
    [
        (lambda x: x * (1 / x[0, 0].item()), np.zeros((2, 2), np.float32)),  # its zeros are tried as it is loaded
        (lambda x: x % x[0, 0].item(), np.zeros((2, 2), np.float32)),
        (lambda x: x * 2 ** x.shape[0], rows(64, 2)),
        (lambda x: x * 2.0 ** x.shape[0], rows(1024, 2)),
    ],
)
def test_arithmetic_that_fails_is_that_inputs_rejection(function: Any, bad: Any, tmp_path: Path) -> None:
    """Python divides items and raises sizes to powers: a division by zero or an overflow is no fault of the server."""
    served = program(tmp_path, function, rows(3, 2) + 9)
    good, refused = served.run([model_input(rows(2, 2) + 9), model_input(bad)])
    np.testing.assert_allclose(good, function(torch.tensor(rows(2, 2) + 9)))
    assert isinstance(refused, Rejected) or function(torch.tensor(bad)).isnan().all()


def test_an_input_for_which_there_is_no_memory_is_not_the_programs_refusal(tmp_path: Path) -> None:
    """There may be, another time: the handler answers a 507."""
    served = program(tmp_path, lambda x: x + torch.zeros(x.shape[0] ** 8).sum(), rows(3, 2))
    np.testing.assert_array_equal(served.run([model_input(rows(3, 2))])[0], rows(3, 2))
    with pytest.raises(MemoryError, match="allocate"):
        served.run([model_input(rows(100, 2))])
