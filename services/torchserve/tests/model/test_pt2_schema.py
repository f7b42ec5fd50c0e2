from __future__ import annotations

import numpy as np
import pytest
import torch
from signet_torchserve.model import pt2_schema
from torch._export.serde import serialize


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (pt2_schema.DTYPES, serialize._SERIALIZE_TO_TORCH_DTYPE),
        (pt2_schema.LAYOUTS, serialize._SERIALIZE_TO_TORCH_LAYOUT),
        (pt2_schema.MEMORY_FORMATS, serialize._SERIALIZE_TO_TORCH_MEMORY_FORMAT),
    ],
)
def test_numbers_are_torchs(ours: dict[int, str], theirs: dict[int, object]) -> None:
    """Each number stands for what this torch reads it as."""
    assert {number: getattr(torch, name) for number, name in ours.items()} == {
        number: theirs[number] for number in ours
    }


def test_every_dtype_of_numpy_is_there() -> None:
    """What is not numbered is nothing that an answer could be made of."""
    for number, dtype in serialize._SERIALIZE_TO_TORCH_DTYPE.items():
        name = str(dtype).removeprefix("torch.")
        assert number in pt2_schema.DTYPES or not hasattr(np, name)


def test_one_layout_is_not_sparse() -> None:
    """All others that torch numbers are, or are of one processor's own."""
    others = set(serialize._SERIALIZE_TO_TORCH_LAYOUT) - set(pt2_schema.LAYOUTS)
    names = [str(serialize._SERIALIZE_TO_TORCH_LAYOUT[number]) for number in others]
    assert all(name.startswith("torch.sparse_") or name == "torch._mkldnn" for name in names)
