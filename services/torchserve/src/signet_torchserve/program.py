"""The model itself: a torch.export program, loaded without a pickle and called on whole batches.

`archive` has emptied the one record of a .pt2 file that holds a pickle (its sample inputs) and refuses every other,
so that `torch.export.load`, which would unpickle, finds nothing to unpickle here.
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

from signet_torchserve import operators, rows
from signet_torchserve.errors import NotServable, Problem, SignatureMismatch
from signet_torchserve.feed import Array, Feed
from signet_torchserve.graph import Form, Graph
from signet_torchserve.guards import Guards
from signet_torchserve.source import Unsupported

# What an input that the program cannot take makes torch raise.
_AT_FAULT = (RuntimeError, AssertionError, ValueError, TypeError, IndexError)

# Shared passes whose outputs are held to those that each request gets alone.
TRIALS = 8

# Programs that are probed in less have one thread: to wait for others costs them more than these do. With two on two
# cores and 64 connections, the Iris model answers 7,000 requests a second, with one 27,000.
SMALL_S = 0.05


class Program:
    """An exported program on one device.

    Args:
        path: the .pt2 file, as `archive` wrote it.
        device: torch device it runs on, wherever the weights were when the model was logged.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self._device = torch.device(device)
        self._on_cpu = self._device.type == "cpu"
        # First on the CPU: an index out of range, which the probe may try, would break a GPU for good.
        module = _load(path, torch.device("cpu"))
        versions = [weight._version for weight in module.weights]  # noqa: SLF001 -- documented, but has no other name
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        began = time.perf_counter()
        with torch.inference_mode():
            self._rows_are_shared = rows.are_free(module.forms) and rows.are_independent(
                module, module.forms[0], _AT_FAULT
            )
        if not self._rows_are_shared or time.perf_counter() - began > SMALL_S:
            torch.set_num_threads(threads)
        is_changed = versions != [weight._version for weight in module.weights]  # noqa: SLF001
        self._rows_are_shared &= not is_changed
        self._module = _load(path, self._device) if is_changed or not self._on_cpu else module
        self._trials = TRIALS

    def run(self, feeds: Sequence[Feed]) -> list[Any]:
        """Output of the program for each feed, on the CPU; a `Refusal` in its place where the program refuses.

        Outputs are arrays, or lists and dicts of them. Feeds share a forward pass if the program was exported with a
        free number of rows, and neither loading it nor the first passes have shown a row that depends on its
        neighbours. One that the program cannot take is answered alone and harms no other.
        """
        if len(feeds) > 1 and self._rows_are_shared:
            arrays = [feed.inputs for feed in feeds if isinstance(feed.inputs, np.ndarray) and not feed.params]
            if len(arrays) == len(feeds):
                with contextlib.suppress(*_AT_FAULT):  # if one of them is at fault, find out which
                    return self._together(feeds, arrays)
        return [self._alone(feed) for feed in feeds]

    def _together(self, feeds: Sequence[Feed], arrays: list[Array]) -> list[Any]:
        batch = np.concatenate(arrays)
        # Equal rows prove nothing, and are what a load test sends.
        is_trial = self._trials > 0 and bool((batch != batch[:1]).any())
        output = _plain(self._module(self._tensor(batch)))
        if not isinstance(output, np.ndarray) or output.shape[:1] != (len(batch),):
            return [self._alone(feed) for feed in feeds]
        ends = itertools.accumulate(map(len, arrays))
        outputs = [output[end - len(array) : end] for array, end in zip(arrays, ends, strict=True)]
        return self._tried(feeds, outputs) if is_trial else outputs

    def _tried(self, feeds: Sequence[Feed], together: list[Any]) -> list[Any]:
        """Outputs that each feed gets alone; if those of a shared pass are others, no pass is ever shared again."""
        alone = [self._alone(feed) for feed in feeds]
        if not all(map(_is_about, together, alone)):
            self._rows_are_shared = False
        self._trials -= 1
        return alone

    def _alone(self, feed: Feed) -> Any:
        try:
            tensors = map(self._tensor, self._arrays(feed.inputs))
            return _plain(self._module(*tensors, **feed.params))
        except _AT_FAULT as error:
            if isinstance(error, torch.OutOfMemoryError) or "CUDA" in str(error):
                raise
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            return SignatureMismatch(
                f"The signature admits this input, but the model refuses it: {reason}",
                [Problem(rule="model", expected="an input that the model can take", got=reason)],
            )

    def _arrays(self, inputs: Array | dict[str, Array]) -> Sequence[Array]:
        if not isinstance(inputs, dict):
            return [inputs]
        if set(inputs) == set(self._module.names):  # by name, but MLflow exports programs that take no keywords
            return [inputs[name] for name in self._module.names]
        return list(inputs.values())

    def _tensor(self, array: Array) -> torch.Tensor:
        tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
        return tensor if self._on_cpu else tensor.to(self._device)


class _Exported:
    """A program that PyTorch itself loads and runs, with the attributes of a `Graph`."""

    def __init__(self, path: Path, device: torch.device) -> None:
        from torch.export.passes import move_to_device_pass  # noqa: PLC0415 -- seconds and 100 MB, for few programs

        exported = _loaded(path)
        if any(weight.device != device for weight in exported.state_dict.values()):
            exported = move_to_device_pass(exported, device)
        self._module = exported.module()
        self.weights = [*exported.state_dict.values(), *exported.tensor_constants.values()]
        self._guards = Guards.of(path)
        inputs = set(exported.graph_signature.user_inputs)
        nodes = [node for node in exported.graph.nodes if node.op == "placeholder" and node.name in inputs]
        tensors = [node.meta["val"] for node in nodes if isinstance(node.meta["val"], torch.Tensor)]
        self.forms = [
            Form(tensor.dtype, tuple(sizes), tuple(example))
            for tensor, sizes, example in zip(tensors, self._guards.sizes, self._guards.examples, strict=True)
        ]
        self.names = self._guards.names

    def __call__(self, *inputs: torch.Tensor, **params: Any) -> Any:
        shapes = tuple([tensor.shape for tensor in inputs])
        if shapes not in self._guards.admitted:
            self._guards.hold(shapes)
        with torch.inference_mode():  # unlike a Graph's, its weights have gradients
            return self._module(*inputs, **params)


def _loaded(path: Path) -> torch.export.ExportedProgram:
    """What `torch.export.load` makes of a file.

    Raises:
        NotServable: this torch cannot read it, now or ever.
    """
    operators.refuse_unknown(path)
    try:
        return torch.export.load(path)
    except (MemoryError, OSError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), "")
        raise NotServable(
            f"torch {torch.__version__} cannot read its program: {type(error).__name__}: {reason}"
        ) from error


def _load(path: Path, device: torch.device) -> Graph | _Exported:
    try:
        return Graph(path, device)
    except Unsupported:
        return _Exported(path, device)


def _is_about(one: Any, other: Any) -> bool:
    return (
        isinstance(other, np.ndarray)
        and one.shape == other.shape
        and np.allclose(one, other, rtol=1e-3, atol=1e-5, equal_nan=True)
    )


def _plain(output: Any) -> Any:
    """The output as arrays on the CPU, in lists and dicts."""
    if isinstance(output, torch.Tensor):
        return (output if output.is_cpu else output.cpu()).numpy()
    if isinstance(output, dict):
        return {name: _plain(value) for name, value in output.items()}
    if isinstance(output, (list, tuple)):
        return [_plain(value) for value in output]
    return output
