"""A program that torch itself loads and runs: the plain way beside `code_generation`, for every program.

torch's module has two checks of sizes. Its guards need the file's sample inputs, and those are a pickle. Its
`validate_inputs` is coarser: if a guard leaves one size from 2 up, it takes no other, not even 1. So `Guards` check
sizes here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from signet_torchserve.errors import NotServable
from signet_torchserve.model import operator_support
from signet_torchserve.model.program_protocol import Form
from signet_torchserve.model.shapes.guards import Guards


class TorchModule:
    """A `LoadedProgram`.

    Args:
        path: the .pt2 file, as `archive` wrote it.
        device: torch device it runs on, wherever it was exported.

    Raises:
        NotServable: this torch cannot read it.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        from torch.export.passes import move_to_device_pass  # noqa: PLC0415 -- slow and large, for few programs

        exported = _loaded(path)
        if any(weight.device != device for weight in exported.state_dict.values()):
            exported = move_to_device_pass(exported, device)
        self._module = exported.module()
        # Only a program with params needs it: nothing else refuses a param that the program does not have.
        self._module.validate_inputs = exported.call_spec.in_spec.child(1).num_leaves > 0
        self._guards = Guards.of(path)
        inputs = set(exported.graph_signature.user_inputs)
        nodes = [node for node in exported.graph.nodes if node.op == "placeholder" and node.name in inputs]
        tensors = [node.meta["val"] for node in nodes if isinstance(node.meta["val"], torch.Tensor)]
        self.forms: Sequence[Form] = [
            Form(tensor.dtype, tuple(sizes), tuple(example))
            for tensor, sizes, example in zip(tensors, self._guards.sizes, self._guards.examples, strict=True)
        ]
        self.names: Sequence[str] = self._guards.names

    def __call__(self, *inputs: torch.Tensor, **params: Any) -> Any:
        """As `LoadedProgram` says; a module that takes params refuses others itself."""
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
    operator_support.refuse_unsupported(path)
    try:
        return torch.export.load(path)
    except (MemoryError, OSError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), "")
        raise NotServable(
            f"torch {torch.__version__} cannot read its program: {type(error).__name__}: {reason}"
        ) from error
