"""The model itself: a torch.export program, loaded without a pickle and called on whole batches.

`archive` has emptied the record of the .pt2 file with the sample inputs, which is a pickle, and has refused a file with
any other pickle. So `torch.export.load`, which would unpickle, finds nothing to unpickle here.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from signet_contract.errors import SignatureMismatch, Violation
from signet_contract.model_input import Array, ModelInput

from signet_torchserve.model.code_generation.graph import Graph
from signet_torchserve.model.code_generation.source import Unsupported
from signet_torchserve.model.program_protocol import LoadedProgram
from signet_torchserve.model.torch_module import TorchModule

# What torch, or Python where it computes with sizes, raises for an input that the program cannot take.
_AT_FAULT = (RuntimeError, AssertionError, ValueError, TypeError, IndexError, ArithmeticError)

# A program that computes its example in less time has one thread: waiting for other threads costs it more than they
# save. On two cores, with 64 connections, the Iris model answers 7,000 requests a second with two threads, 27,000 with
# one.
SMALL_S = 0.003
SLOW_S = 0.1  # a program that takes longer is not called again for the measurement


class Program:
    """An exported program on one device.

    Attributes:
        names: of its inputs, in their order.
        forms: of its inputs.

    Args:
        path: the .pt2 file, as `archive` wrote it.
        device: torch device it runs on, wherever the weights were when the model was logged.
        is_batch_invariant: whether it is proven, or its author vouches, that no row depends on another.
        is_generated: whether it runs as a `Graph` if it can; else torch's own module runs it.
    """

    def __init__(
        self, path: Path, device: str = "cpu", *, is_batch_invariant: bool = False, is_generated: bool = True
    ) -> None:
        self._device = torch.device(device)
        self._on_cpu = self._device.type == "cpu"
        self._is_batch_invariant = is_batch_invariant
        self._module = _load(path, self._device, is_generated=is_generated)
        self.names, self.forms = self._module.names, self._module.forms
        # It is tried with zeros, which may be out of a table's range: on a GPU that breaks the process for good.
        if self._on_cpu:
            self._choose_threads()

    def _choose_threads(self) -> None:
        """Give a small program one thread; any other keeps torch's number of threads."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        zeros = self._zeros()
        took = float("inf")
        with contextlib.suppress(*_AT_FAULT), torch.inference_mode():
            for _ in range(3):  # the first is slower than all others
                began = time.thread_time()  # all of the work is this thread's; by the clock it also waits
                self._module(*zeros)
                took = time.thread_time() - began
                if took > SLOW_S:
                    break
        if took > SMALL_S:
            torch.set_num_threads(threads)

    def takes_zeros(self) -> bool:
        """Whether the program takes zeros of the dtypes that it was exported with."""
        try:
            self._module(*self._zeros())
        except _AT_FAULT:
            return False
        return True

    def _zeros(self) -> list[torch.Tensor]:
        return [torch.zeros(form.example, dtype=form.dtype, device=self._device) for form in self.forms]

    def run(self, model_inputs: Sequence[ModelInput]) -> list[Any]:
        """Output of the program for each model input, on the CPU; a `Rejected` in its place where the program refuses.

        Outputs are arrays, or lists and dicts of them. Inputs share a forward pass if the program is batch-invariant.
        An input that the program cannot take gets its own answer, and harms no other.
        """
        if len(model_inputs) > 1 and self._is_batch_invariant:
            # If one is empty, each goes alone: in a shared pass nobody would see that the program refuses it.
            arrays = [
                model_input.inputs
                for model_input in model_inputs
                if isinstance(model_input.inputs, np.ndarray) and model_input.inputs.size and not model_input.params
            ]
            if len(arrays) == len(model_inputs):
                with contextlib.suppress(*_AT_FAULT):  # if one of them is at fault, find out which
                    return self._together(model_inputs, arrays)
        return [self._alone(model_input) for model_input in model_inputs]

    def _together(self, model_inputs: Sequence[ModelInput], arrays: list[Array]) -> list[Any]:
        batch = np.concatenate(arrays)
        output = _as_arrays(self._module(self._tensor(batch)))
        if not isinstance(output, np.ndarray) or output.shape[:1] != (len(batch),):
            return [self._alone(model_input) for model_input in model_inputs]
        ends = itertools.accumulate(map(len, arrays))
        return [output[end - len(array) : end] for array, end in zip(arrays, ends, strict=True)]

    def _alone(self, model_input: ModelInput) -> Any:
        try:
            tensors = map(self._tensor, self._arrays(model_input.inputs))
            return _as_arrays(self._module(*tensors, **model_input.params))
        except _AT_FAULT as error:
            if isinstance(error, torch.OutOfMemoryError) or "CUDA" in str(error):
                raise
            if "DefaultCPUAllocator" in str(error):  # the CPU's lack of memory is a RuntimeError, too
                raise MemoryError(str(error)) from error
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__) + self._other_dtypes(model_input)
            return SignatureMismatch(
                f"The signature admits this input, but the model refuses it: {reason}",
                [Violation(rule="model", expected="an input that the model can take", got=reason)],
            )

    def _other_dtypes(self, model_input: ModelInput) -> str:
        """Which dtypes the inputs have, if the program was exported with others, as the end of a sentence."""
        arrays = self._arrays(model_input.inputs)
        given = ", ".join(str(array.dtype) for array in arrays)
        exported = ", ".join(str(form.dtype).removeprefix("torch.") for form in self.forms[: len(arrays)])
        return "" if given == exported else f" (it was exported with {exported} and gets {given})"

    def _arrays(self, inputs: Array | dict[str, Array]) -> Sequence[Array]:
        if not isinstance(inputs, dict):
            return [inputs]
        if set(inputs) == set(self.names):  # fed by name, though in order: MLflow exports programs without keywords
            return [inputs[name] for name in self.names]
        return list(inputs.values())

    def _tensor(self, array: Array) -> torch.Tensor:
        tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
        return tensor if self._on_cpu else tensor.to(self._device)


def _load(path: Path, device: torch.device, *, is_generated: bool) -> LoadedProgram:
    if is_generated:
        with contextlib.suppress(Unsupported):
            return Graph(path, device)
    return TorchModule(path, device)


def _as_arrays(output: Any) -> Any:
    """The output as arrays on the CPU, in lists and dicts."""
    if isinstance(output, torch.Tensor):
        return output.numpy(force=True)  # also from another device, or with a sign that torch has not applied yet
    if isinstance(output, dict):
        return {name: _as_arrays(value) for name, value in output.items()}
    if isinstance(output, (list, tuple)):
        return [_as_arrays(value) for value in output]
    return output
