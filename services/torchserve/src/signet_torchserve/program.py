"""The model itself: a torch.export program, loaded without a pickle and called on whole batches.

`archive` has emptied the one record of a .pt2 file that holds a pickle (its sample inputs) and refuses every other,
so that `torch.export.load`, which would unpickle, finds nothing to unpickle here.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export.passes import move_to_device_pass

from signet_torchserve.errors import Problem, SignatureMismatch
from signet_torchserve.feed import Feed

# What an input that the program cannot take makes torch raise.
_AT_FAULT = (RuntimeError, AssertionError, ValueError, TypeError, IndexError)

# Shared passes whose outputs are held to those that each request gets alone.
TRIALS = 8


class Program:
    """An exported program on one device.

    Args:
        path: the .pt2 file, as `archive` wrote it.
        device: torch device it runs on, wherever the weights were when the model was logged.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self._device = torch.device(device)
        exported = torch.export.load(path)
        if any(weight.device != self._device for weight in exported.state_dict.values()):
            exported = move_to_device_pass(exported, self._device)
        self._module = exported.module()
        self._names = list(inspect.signature(self._module.forward).parameters)
        self._rows_are_free = _rows_are_free(exported)
        self._trials = TRIALS if self._rows_are_free else 0

    def run(self, feeds: Sequence[Feed]) -> list[Any]:
        """Output of the program for each feed, on the CPU; a `Refusal` in its place where the program refuses.

        Outputs are arrays, or lists and dicts of them. Feeds of one row shape share a forward pass if the program was
        exported with a free number of rows and the first passes have shown that no row depends on its neighbours. One
        that the program cannot take is answered alone and harms no other.
        """
        if len(feeds) > 1 and self._rows_are_free and all(map(_is_table, feeds)):
            widths = {feed.inputs.shape[1:] for feed in feeds if isinstance(feed.inputs, np.ndarray)}
            if len(widths) == 1:
                with contextlib.suppress(*_AT_FAULT):  # if one of them is at fault, find out which
                    return self._together(feeds)
        return [self._alone(feed) for feed in feeds]

    def _together(self, feeds: Sequence[Feed]) -> list[Any]:
        arrays = [feed.inputs for feed in feeds if isinstance(feed.inputs, np.ndarray)]
        output = self._call(np.concatenate(arrays), {})
        if not isinstance(output, np.ndarray) or output.shape[:1] != (sum(map(len, arrays)),):
            return [self._alone(feed) for feed in feeds]
        outputs = np.split(output, np.cumsum([len(array) for array in arrays])[:-1])
        return self._tried(feeds, outputs) if self._trials else outputs

    def _tried(self, feeds: Sequence[Feed], together: list[Any]) -> list[Any]:
        """Outputs that each feed gets alone; if those of a shared pass are others, no pass is ever shared again."""
        alone = [self._alone(feed) for feed in feeds]
        if not all(map(_is_about, together, alone)):
            self._rows_are_free = False
        arrays = [feed.inputs for feed in feeds if isinstance(feed.inputs, np.ndarray)]
        if any(not np.array_equal(array, arrays[0]) for array in arrays):  # equal rows prove nothing
            self._trials -= 1
        return alone

    def _alone(self, feed: Feed) -> Any:
        try:
            return self._call(feed.inputs, feed.params)
        except _AT_FAULT as error:
            if isinstance(error, torch.OutOfMemoryError) or "CUDA" in str(error):
                raise
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            return SignatureMismatch(
                f"The signature admits this input, but the model refuses it: {reason}",
                [Problem(rule="model", expected="an input that the model can take", got=reason)],
            )

    def _call(self, inputs: np.ndarray[Any, Any] | dict[str, np.ndarray[Any, Any]], params: dict[str, Any]) -> Any:
        with torch.inference_mode():
            if not isinstance(inputs, dict):
                output = self._module(self._tensor(inputs), **params)
            elif set(inputs) == set(self._names):  # by name, but MLflow exports programs that take no keywords
                output = self._module(*(self._tensor(inputs[name]) for name in self._names), **params)
            else:
                output = self._module(*map(self._tensor, inputs.values()), **params)
            return _on_cpu(output)

    def _tensor(self, array: np.ndarray[Any, Any]) -> torch.Tensor:
        return torch.from_numpy(array if array.flags.writeable else array.copy()).to(self._device)


def _rows_are_free(exported: torch.export.ExportedProgram) -> bool:
    """Whether the program has one tensor as input and does not fix how many rows it has."""
    names = set(exported.graph_signature.user_inputs)
    inputs = [node.meta["val"] for node in exported.graph.nodes if node.op == "placeholder" and node.name in names]
    return (
        len(inputs) == 1
        and isinstance(inputs[0], torch.Tensor)
        and inputs[0].ndim > 0
        and not isinstance(inputs[0].shape[0], int)
    )


def _is_about(one: Any, other: Any) -> bool:
    return (
        isinstance(other, np.ndarray)
        and one.shape == other.shape
        and np.allclose(one, other, rtol=1e-3, atol=1e-5, equal_nan=True)
    )


def _is_table(feed: Feed) -> bool:
    return isinstance(feed.inputs, np.ndarray) and feed.inputs.ndim > 0 and not feed.params


def _on_cpu(output: Any) -> Any:
    if isinstance(output, torch.Tensor):
        return output.cpu().numpy()
    if isinstance(output, dict):
        return {name: _on_cpu(value) for name, value in output.items()}
    if isinstance(output, (list, tuple)):
        return [_on_cpu(value) for value in output]
    return output
