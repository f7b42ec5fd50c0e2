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
from signet_torchserve.errors import Refusal
from signet_torchserve.feed import Feed
from signet_torchserve.graph import Graph
from signet_torchserve.program import TRIALS, Program


def program(folder: Path, function: Any, example: Any, signature: ModelSignature | None = None) -> Program:
    model = models.save(folder / "model", Formula(function), example, signature)
    return Program(models.unpack(model, folder / "mar") / "model.pt2")


def feed(inputs: Any) -> Feed:
    return Feed(inputs, {}, framed=False)


def test_feeds_that_share_a_pass_get_the_outputs_that_they_get_alone(tmp_path: Path) -> None:
    """Each feed of a shared pass gets its own rows, while the pass is on trial and after."""
    served = program(tmp_path, lambda x: x.sum(1), rows(3, 2))
    feeds = [feed(rows(count, 2) + count) for count in (1, 3, 2)]
    for _ in range(TRIALS + 2):
        outputs = served.run(feeds)
        assert [output.tolist() for output in outputs] == [one.inputs.sum(1).tolist() for one in feeds]
    assert served._trials == 0
    assert served._rows_are_shared


def test_equal_rows_are_no_trial(tmp_path: Path) -> None:
    """A load test with one body shares passes from the first on, and leaves the trials to rows that differ."""
    served = program(tmp_path, lambda x: x.sum(1), rows(3, 2))
    for output in served.run([feed(np.ones((1, 2), np.float32))] * 3):
        assert output.tolist() == [2]
    assert served._trials == TRIALS


def test_rows_that_depend_on_their_neighbours_are_never_shared(tmp_path: Path) -> None:
    """Each feed is answered alone from the first batch on."""
    served = program(tmp_path, lambda x: x - x.mean(0), rows(3, 2))
    assert not served._rows_are_shared
    for output in served.run([feed(rows(1, 2)), feed(rows(1, 2) + 1)]):
        assert output.tolist() == [[0, 0]]


class Counter(torch.nn.Module):
    """Remembers its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1)
        return x * 0 + self.calls


def test_loading_leaves_a_program_that_remembers_as_it_was_logged(tmp_path: Path) -> None:
    """What loading tries out is forgotten, and such a program shares no pass."""
    model = models.save(tmp_path / "model", Counter(), rows(3, 2))
    served = Program(models.unpack(model, tmp_path / "mar") / "model.pt2")
    outputs = served.run([feed(rows(1, 1)[:, [0, 0]]), feed(rows(1, 2))])
    assert [output.tolist() for output in outputs] == [[[1, 1]], [[2, 2]]]


def without_gradients(x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return x * 2


def test_a_program_that_only_pytorch_can_run_is_served(tmp_path: Path) -> None:
    """It shares passes and refuses what it cannot take, as any."""
    served = program(tmp_path, without_gradients, rows(3, 2))
    assert not isinstance(served._module, Graph)
    assert served._rows_are_shared
    first, refused, last = served.run([feed(rows(2, 2)), feed(rows(2, 3)), feed(rows(1, 2))])
    np.testing.assert_array_equal(first, rows(2, 2) * 2)
    assert isinstance(refused, Refusal)
    np.testing.assert_array_equal(last, rows(1, 2) * 2)


def test_outputs_of_several_tensors_are_kept_apart(tmp_path: Path) -> None:
    """A program with several outputs gives a list or dict of arrays, also in a batch."""
    served = program(tmp_path, lambda x: {"double": x * 2, "parts": (x + 1, x - 1)}, rows(3, 2))
    for output, one in zip(served.run([feed(rows(1, 2)), feed(rows(2, 2))]), (1, 2), strict=True):
        np.testing.assert_array_equal(output["double"], rows(one, 2) * 2)
        np.testing.assert_array_equal(output["parts"][0], rows(one, 2) + 1)
        np.testing.assert_array_equal(output["parts"][1], rows(one, 2) - 1)


def test_named_inputs_are_fed_by_name(tmp_path: Path) -> None:
    """Inputs that carry the program's names are fed by name, whatever order they come in."""
    named = Schema([TensorSpec(np.dtype("float32"), (-1, 2), name) for name in "ab"])
    model = models.save(tmp_path / "model", Difference(), (rows(3, 2), rows(3, 2)), ModelSignature(named))
    served = Program(models.unpack(model, tmp_path / "mar") / "model.pt2")
    one, two = rows(1, 2), rows(1, 2) * 3
    (output,) = served.run([feed({"b": two, "a": one})])
    np.testing.assert_array_equal(output, one - two)


def test_an_array_that_must_not_be_written_is_fed(tmp_path: Path) -> None:
    """Pandas hands out arrays that are read-only: a program that writes to its input gets a copy of one."""
    served = program(tmp_path, lambda x: x.add_(1), rows(3, 2))
    array = rows(2, 2)
    array.flags.writeable = False
    (output,) = served.run([feed(array)])
    np.testing.assert_array_equal(output, rows(2, 2) + 1)
    np.testing.assert_array_equal(array, rows(2, 2))


@pytest.mark.parametrize("bad", [rows(2, 3), rows(2), rows(1, 2, 2), rows(0, 2), np.array([["a"]], object)])
def test_an_input_that_the_program_cannot_take_is_refused(bad: Any, tmp_path: Path) -> None:
    """Another shape or type is a refusal in its place, alone and beside good ones, whose outputs are as ever."""
    served = program(tmp_path, lambda x: x[0] @ torch.ones(2, 1), rows(3, 2))
    (alone,) = served.run([feed(bad)])
    first, refused, last = served.run([feed(rows(2, 2)), feed(bad), feed(rows(2, 2))])
    assert isinstance(alone, Refusal)
    assert isinstance(refused, Refusal)
    assert refused.message == alone.message
    np.testing.assert_array_equal(first, last)
