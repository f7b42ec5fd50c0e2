"""What `code_generation` and, the plain way, `torch_module` make of a .pt2 file: a program that can be called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch


@dataclass(frozen=True, slots=True)
class Form:
    """A tensor that a program takes: dtype, sizes (of a free dimension a formula), and the sizes of an example."""

    dtype: torch.dtype
    sizes: tuple[int | str, ...]
    example: tuple[int, ...]


class LoadedProgram(Protocol):
    """A program on one device.

    Attributes:
        names: of its inputs, in their order.
        forms: of its inputs.
    """

    names: Sequence[str]
    forms: Sequence[Form]

    def __call__(self, *inputs: torch.Tensor, **params: Any) -> Any:
        """What the exported module returns for `inputs`.

        Raises:
            ValueError: the program was not exported for inputs of these shapes, or for these params.
        """
