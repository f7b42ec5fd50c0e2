"""What a model is called with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

EXACT = 2.0**53
"""Up to 2**53 each integer is one double. Beyond, two integers may be the same double."""


def admits_shape(expected: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether a signature's shape, in which -1 stands for any size, admits a shape."""
    return len(expected) == len(shape) and all(asked in (-1, size) for asked, size in zip(expected, shape, strict=True))


@dataclass(slots=True)
class ModelInput:
    """What the model is called with.

    `inputs` is one array (float32 [rows, columns] for a column signature), or for named tensors a dict of arrays.
    `framed` tells that pyfunc would have called the model with a data frame, and so would answer in records.
    """

    inputs: Array | dict[str, Array]
    params: dict[str, Any]
    framed: bool

    @property
    def rows(self) -> int:
        """Rows of the request; 1 where its input has no axis for them."""
        inputs = next(iter(self.inputs.values())) if isinstance(self.inputs, dict) else self.inputs
        return len(inputs) if inputs.ndim else 1
