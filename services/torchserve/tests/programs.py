"""Programs as torch.export writes them: what the tests of `model` share."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn


class Function(nn.Module):
    """A function of some modules and one tensor, as a module."""

    def __init__(self, function: Callable[..., Any], *modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(modules)

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(*self.parts, x)


def of(function: Callable[..., Any], *modules: nn.Module) -> nn.Module:
    """The function as a module in eval mode."""
    return Function(function, *modules).eval()


def floats(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def integers(*shape: int) -> torch.Tensor:
    return torch.randint(0, 7, shape, generator=torch.Generator().manual_seed(0))


def document(module: nn.Module, *examples: torch.Tensor, free: Sequence[int] = (0,)) -> dict[str, Any]:
    """JSON of the program of a module, exported as MLflow does: as it is, some dimensions of its inputs free."""
    dims = [{dim: torch.export.Dim.AUTO for dim in free if dim < example.ndim} or None for example in examples]
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # about weights of recurrent layers, and what a model assigns
        torch.export.save(torch.export.export(module, examples, dynamic_shapes=tuple(dims)), file)
    with zipfile.ZipFile(file) as program:
        (record,) = (name for name in program.namelist() if name.endswith("models/model.json"))
        result: dict[str, Any] = json.loads(program.read(record))
    return result
