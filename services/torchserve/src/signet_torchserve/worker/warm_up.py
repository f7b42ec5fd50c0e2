"""Warm-up: a program answers requests of one, two and three rows before it serves, and its worker whole batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Sequence
from typing import Any

import numpy as np
from signet_contract.errors import Rejected
from signet_contract.model_input import Array, ModelInput

from signet_torchserve.errors import NotServable
from signet_torchserve.model.program import Program

ROWS = (1, 2, 3)

# After so long a program is asked no other number of rows.
_ENOUGH_S = 5.0

BATCHES = (1, 8, 32)  # sizes that are tried, besides the largest possible
_TIMES = 4
_BATCHES_S = 0.5  # for all batches of one size

Spec = dict[str, Any]


def answers(program: Program, inputs: Sequence[Spec], example: ModelInput | None) -> dict[int, Any]:
    """What a program returns for each number of `ROWS` that it takes; or only for its example if it takes none of them.

    Args:
        program: is called.
        inputs: the input specs of the signature.
        example: the model input of the model's own example; without one, the program gets zeros.

    Raises:
        NotServable: the program takes zeros, but none of the dtypes that the signature makes requests into.
    """
    model_input = example or _zeros(inputs, program)
    free = {spec.get("name") for spec in inputs if spec["type"] != "tensor" or spec["tensor-spec"]["shape"][:1] == [-1]}
    found: dict[int, Any] = {}
    deadline = time.monotonic() + _ENOUGH_S
    for trial in (*(_of_rows(model_input, rows, free) for rows in ROWS if free), model_input):
        (output,) = program.run([trial])
        if not isinstance(output, Rejected):
            found[trial.rows] = output
        if found and (trial.rows == ROWS[-1] or time.monotonic() > deadline):
            return found
    if not found and example is None and program.takes_zeros():
        raise NotServable(output.message)
    return found


def _zeros(inputs: Sequence[Spec], program: Program) -> ModelInput:
    if inputs[0]["type"] != "tensor":
        return ModelInput(np.zeros((1, len(inputs)), np.float32), {}, framed=True)
    names = [spec.get("name") for spec in inputs]
    by_name = set(names) == set(program.names)
    forms = [program.forms[program.names.index(name)] for name in names] if by_name else program.forms
    arrays = [np.zeros(_shape(spec, form.example), _dtype(spec)) for spec, form in zip(inputs, forms, strict=True)]
    if len(arrays) == 1 and names[0] is None:
        return ModelInput(arrays[0], {}, framed=False)
    return ModelInput({str(name): array for name, array in zip(names, arrays, strict=True)}, {}, framed=False)


def _shape(spec: Spec, example: Sequence[int]) -> list[int]:
    return [there if size == -1 else size for size, there in zip(spec["tensor-spec"]["shape"], example, strict=True)]


def _dtype(spec: Spec) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(spec["tensor-spec"]["dtype"])
    return dtype


def _of_rows(model_input: ModelInput, rows: int, free: Container[str | None]) -> ModelInput:
    if isinstance(model_input.inputs, dict):
        arrays = {name: _repeated(array, rows) if name in free else array for name, array in model_input.inputs.items()}
        return ModelInput(arrays, model_input.params, model_input.framed)
    return ModelInput(_repeated(model_input.inputs, rows), model_input.params, model_input.framed)


def _repeated(array: Array, rows: int) -> Array:
    return np.resize(array, (rows, *array.shape[1:]))


def answer_batches(is_answered: Callable[[int], bool], batch_size: int) -> None:
    """Have batches of each size answered, each several times if that is quick.

    Args:
        is_answered: has a batch of so many requests answered. Says whether each got a prediction; if not, no further
            batch is tried.
        batch_size: the largest batch.
    """
    one_s = 0.0
    for size in sorted({*(size for size in BATCHES if size < batch_size), batch_size}):
        if one_s * size > _BATCHES_S:  # how long the batch takes if its requests share no forward pass
            return
        deadline = time.monotonic() + _BATCHES_S
        for _ in range(_TIMES):
            began = time.monotonic()
            if not is_answered(size):
                return
            one_s = time.monotonic() - began if size == 1 else one_s
            if time.monotonic() > deadline:
                break
