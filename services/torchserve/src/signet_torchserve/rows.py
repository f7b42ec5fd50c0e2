"""Whether requests may share a forward pass: only if no row of a program's output depends on its neighbours."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from signet_torchserve.graph import Form

_ROWS = 5
_FEW_ROWS = 2
_BIG = 1 << 14  # elements of a row
_SLOW_S = 0.1  # of one row; a model that takes a second would take half a minute longer to load
_MAGNITUDES = (1.0, 0.1, 10.0, 1.0, 3.0)


def are_free(forms: Sequence[Form]) -> bool:
    """Whether a program has one tensor as input and does not fix how many rows it has."""
    if len(forms) != 1 or not forms[0].sizes:
        return False
    rows, *others = forms[0].sizes
    return isinstance(rows, str) and rows not in others


def are_independent(module: Callable[..., Any], form: Form, at_fault: tuple[type[Exception], ...]) -> bool:
    """Whether `module`, on the CPU, gives rows that differ the same outputs together as alone.

    Args:
        module: takes one tensor of the form.
        form: of its input, whose rows are free.
        at_fault: what the module raises at an input that it cannot take, such as an index beyond its embeddings; that
            input then says nothing, and if all do, nothing is known and the answer is no.
    """
    is_costly = math.prod(form.example[1:]) > _BIG or _is_slow(module, form, at_fault)
    verdicts = []
    for batch in _batches(form, _FEW_ROWS if is_costly else _ROWS):
        try:
            verdicts.append(_gives_same_alone(module, batch))
        except at_fault:
            continue
        if is_costly or not verdicts[-1]:
            break
    return bool(verdicts) and all(verdicts)


def _is_slow(module: Callable[..., Any], form: Form, at_fault: tuple[type[Exception], ...]) -> bool:
    began = time.perf_counter()
    with contextlib.suppress(*at_fault):
        module(torch.zeros((1, *form.example[1:]), dtype=form.dtype))
    return time.perf_counter() - began > _SLOW_S


def _batches(form: Form, rows: int) -> Iterator[torch.Tensor]:
    """Rows of several magnitudes, then of zeros and ones, and of ones and twos, which indices and counts can be."""
    generator = torch.Generator().manual_seed(0)
    shape = (rows, *form.example[1:])
    if form.dtype.is_floating_point or form.dtype.is_complex:
        numbers = torch.randn(shape, dtype=torch.float64, generator=generator)
        magnitudes = torch.tensor(_MAGNITUDES[:rows]).reshape(-1, *(1 for _ in shape[1:]))
        yield (numbers * magnitudes).to(form.dtype)
    for least in (0, 1):
        yield torch.randint(least, least + 2, shape, generator=generator).to(form.dtype)


def _gives_same_alone(module: Callable[..., Any], batch: torch.Tensor) -> bool:
    together = module(batch.clone())
    if not isinstance(together, torch.Tensor) or together.shape[:1] != batch.shape[:1]:
        return False
    return all(
        _are_about(together[index : index + 1], module(batch[index : index + 1].clone())) for index in range(len(batch))
    )


def _are_about(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether outputs are equal but for rounding, which follows the greatest terms of their sums."""
    if one.shape != other.shape:
        return False
    if not one.is_complex():
        one, other = one.double(), other.double()
    greatest = other.abs().nan_to_num(0, posinf=0).max().item() if other.numel() else 0
    return torch.allclose(one, other, rtol=1e-3, atol=1e-5 * max(1.0, greatest), equal_nan=True)
