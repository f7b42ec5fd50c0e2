from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from signet_torchserve import rows
from signet_torchserve.graph import Form

AT_FAULT = (RuntimeError, IndexError)


@pytest.mark.parametrize(
    ("sizes", "are_free"),
    [([("n", 2)], True), ([("n",)], True), ([(3, 2)], False), ([()], False), ([], False), ([("n", "n")], False),
     ([(3, "n")], False), ([("n", 2), ("n", 2)], False)],
)  # fmt: skip
def test_rows_are_free_where_one_input_leaves_their_number_open(sizes: list[Any], are_free: bool) -> None:  # noqa: FBT001
    """Not if another of its sizes is the same, nor if there are several inputs."""
    assert rows.are_free([Form(torch.float32, one, (3,) * len(one)) for one in sizes]) is are_free


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool, torch.complex64])
@pytest.mark.parametrize("row", [(), (4,), (3, 5, 5), (3, 128, 128)])
@pytest.mark.parametrize(
    ("function", "are_independent"),
    [
        (lambda x: x, True),
        (lambda x: x * 2 + 1, True),
        (lambda x: x / 0, True),
        (lambda x: x.reshape(len(x), -1).cumsum(1), True),
        (lambda x: torch.zeros(9)[x.real.reshape(len(x), -1)[:, 0].long().clamp(-5, 5)], True),
        (lambda x: x - x.sum(0), False),
        (lambda x: x.cumsum(0), False),
        (lambda x: x.sum(), False),
        (lambda x: x[:1], False),
        (lambda x: (x, x), False),
        (lambda x: x + torch.arange(len(x)).reshape(-1, *(1 for _ in x.shape[1:])), False),
        (lambda x: torch.zeros(0)[x.real.long()], False),
    ],
)
def test_rows_are_independent_where_neighbours_change_nothing(
    function: Callable[..., Any],
    are_independent: bool,  # noqa: FBT001
    row: tuple[int, ...],
    dtype: torch.dtype,
) -> None:
    """In any dtype and shape, with NaN or not; a program that takes nothing that is tried is not known to be."""
    form = Form(dtype, ("n", *row), (2, *row))
    assert rows.are_independent(function, form, AT_FAULT) is are_independent


def test_a_slow_program_is_called_a_few_times_only() -> None:
    """Loading it takes some four times as long as one request."""
    calls = list[int]()

    def slow(x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        time.sleep(0.15)
        return x

    assert rows.are_independent(slow, Form(torch.float32, ("n", 1), (3, 1)), AT_FAULT)
    assert calls == [1, 2, 1, 1]


def test_a_program_of_indices_is_tried_with_indices() -> None:
    """Zeros and ones are tried where other numbers are refused."""
    table = torch.rand(2, 3)
    form = Form(torch.float32, ("n", 1), (3, 1))
    assert rows.are_independent(lambda x: table[x[:, 0].long()], form, AT_FAULT)
    assert not rows.are_independent(lambda x: table[x[:, 0].long()].cumsum(0), form, AT_FAULT)
