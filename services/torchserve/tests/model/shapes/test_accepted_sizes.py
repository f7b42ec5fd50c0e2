"""What real programs take of the sizes that their signatures admit, in words and compared."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from signet_contract import Contract
from signet_torchserve.archive.served_contract import ServedContract
from signet_torchserve.model.shapes.accepted_sizes import AcceptedSizes
from signet_torchserve.model.shapes.guards import Guards

AUTO = torch.export.Dim.AUTO


class OfOne(torch.nn.Module):
    """A function of one input."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function
        self.one = torch.nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x) * self.one


class OfTwo(OfOne):
    """A function of two inputs."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # two inputs
        return self.function(x, y) * self.one


def sizes(
    function: Callable[..., torch.Tensor], *shapes: tuple[int, ...], free: tuple[int, ...] = (0,)
) -> AcceptedSizes:
    """Those of a function that was exported with examples of these shapes, its signature free in some dimensions."""
    examples = tuple(torch.ones(shape) for shape in shapes)
    dynamic = [dict.fromkeys(free, AUTO) for _ in shapes]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.pt2")
        module = (OfOne, OfTwo)[len(shapes) - 1](function)
        torch.export.save(torch.export.export(module, examples, dynamic_shapes=dynamic), path)
        guards = Guards.of(path)
    inputs = {
        name: [-1 if axis in free else size for axis, size in enumerate(shape)]
        for name, shape in zip("xy", shapes, strict=False)
    }
    return AcceptedSizes(inputs, guards)


def when(condition: Callable[..., bool]) -> Callable[..., torch.Tensor]:
    return lambda x, *others: x * 2 if condition(x.shape[0], *(other.shape[0] for other in others)) else x


def padded(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pad(x, (0, 0, 0, -x.shape[0] % 4)).reshape(-1, 4, x.shape[1]).sum(1)


def looped(x: torch.Tensor) -> torch.Tensor:
    for index in range(x.shape[0] // 3):
        x = x + index
    return x


TAKEN: dict[str, Callable[[], AcceptedSizes]] = {
    "any number of rows": lambda: sizes(lambda x: x, (4, 2)),
    "batches of exactly 1": lambda: sizes(lambda x: x, (1, 2)),
    "batches of exactly 4": lambda: sizes(when(lambda n: n == 4), (4, 2)),
    "an even number of rows": lambda: sizes(when(lambda n: n % 2 == 0), (4, 2)),
    "an odd number of rows": lambda: sizes(when(lambda n: n % 2 == 0), (3, 2)),
    "3, 6, 9, … rows": lambda: sizes(when(lambda n: n % 3 == 0), (6, 2)),
    "1, 4, 7, … rows": lambda: sizes(when(lambda n: n % 3 == 1), (4, 2)),
    "at most 512 rows": lambda: sizes(when(lambda n: n <= 512), (4, 2)),
    "at most 5000 rows": lambda: sizes(when(lambda n: n <= 5000), (4, 2)),
    "from 3 to 512 rows": lambda: sizes(when(lambda n: 3 <= n <= 512), (4, 2)),
    "3 or more rows": lambda: sizes(when(lambda n: n >= 3), (4, 2)),
    "any number of rows, but not 7": lambda: sizes(when(lambda n: n == 7), (4, 2)),
    "from 3 to 5 rows": lambda: sizes(looped, (4, 2)),
    "5 or more rows": lambda: sizes(padded, (6, 2)),
    "as many rows in each input": lambda: sizes(torch.add, (4, 2), (4, 2)),
    "as many rows in each input, an even number of rows": lambda: sizes(
        lambda x, y: when(lambda n: n % 2 == 0)(x) + y, (4, 2), (4, 2)
    ),
    "at most 4 rows of input 'x' beside 5 of 'y' and 5 or more rows of input 'y' beside 4 of 'x'": lambda: sizes(
        when(lambda n, m: n < m), (4, 2), (5, 2)
    ),
    "at most 8 in dimension 1": lambda: sizes(lambda x: x * 2 if x.shape[1] <= 8 else x, (4, 3), free=(0, 1)),
    "batches of exactly 4 and exactly 4 in dimension 1": lambda: sizes(lambda x: x @ x, (4, 4), free=(0, 1)),
}


@cache
def made(words: str) -> AcceptedSizes:
    return TAKEN[words]()


@pytest.mark.parametrize("words", TAKEN)
def test_what_a_program_takes_is_said_in_words(words: str) -> None:
    """One size, a range, every second, all but some, and how inputs belong together."""
    assert str(made(words)) == words
    assert made(words).narrower() == ("" if words == "any number of rows" else words)


def contract(taken: AcceptedSizes | None) -> ServedContract:
    inputs = [{"type": "tensor", "name": "x", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]
    return ServedContract(Contract({"inputs": json.dumps(inputs)}), taken)


@pytest.mark.parametrize(
    ("old", "new", "is_breaking"),
    [
        ("any number of rows", "batches of exactly 1", True),
        ("any number of rows", "an even number of rows", True),
        ("any number of rows", "at most 5000 rows", True),
        ("at most 5000 rows", "at most 512 rows", True),
        ("an even number of rows", "an odd number of rows", True),
        ("an even number of rows", "3, 6, 9, … rows", True),
        ("batches of exactly 4", "an even number of rows", False),
        ("batches of exactly 1", "any number of rows", False),
        ("from 3 to 512 rows", "3 or more rows", False),
        ("any number of rows", "any number of rows", None),
        ("as many rows in each input", "as many rows in each input, an even number of rows", True),
        ("as many rows in each input, an even number of rows", "as many rows in each input", False),
    ],
)
def test_a_program_that_takes_less_breaks_clients(old: str, new: str, *, is_breaking: bool | None) -> None:
    """A size that the former took and the next does not is breaking; one that is new is not."""
    found = contract(made(new)).compare(contract(made(old)))
    if is_breaking is None:
        assert not found
        return
    (change,) = found
    assert change.is_breaking is is_breaking
    assert change.text.startswith(f"its program takes {new} instead of {old}: ")


def test_of_other_inputs_and_unknown_programs_nothing_is_said() -> None:
    """Their shapes and names are compared with the signatures."""
    one, two = made("batches of exactly 1"), made("as many rows in each input")
    assert not one.takes_less_than(two)
    assert not two.takes_less_than(one)
    assert not contract(one).compare(contract(None))
    assert not contract(None).compare(contract(one))


def test_a_signature_that_fixes_a_size_is_not_narrowed_by_it() -> None:
    """Only what the signature leaves free can be narrower."""
    one: Any = made("batches of exactly 1")
    assert AcceptedSizes({"x": [1, 2]}, one.guards).narrower() == ""
