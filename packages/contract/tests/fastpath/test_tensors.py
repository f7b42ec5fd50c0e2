from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import requests_drawn as drawn
from fast_and_slow import hold_to_the_slow_way
from hypothesis import given
from hypothesis import strategies as st
from mlflow.types import Schema, TensorSpec
from signet_contract import request
from signet_contract.contract import Contract

from testing.oracle import signature_document


@given(st.data())
def test_fast_way_gives_tensors_as_the_slow_way_does(data: st.DataObject) -> None:
    """Likewise nested lists for an unnamed tensor and for named ones."""
    specs = data.draw(st.lists(drawn.tensor_specs(), min_size=1, max_size=3))
    lists = [data.draw(drawn.nested_lists(spec)) * data.draw(st.sampled_from([1, 1, 1, 500])) for spec in specs]
    if len(specs) == 1 and data.draw(st.booleans()):
        document = {data.draw(st.sampled_from(["inputs", "instances"])): lists[0]}
    else:
        specs = [TensorSpec(spec.type, spec.shape, f"t{index}") for index, spec in enumerate(specs)]
        document = {"inputs": {spec.name: values for spec, values in zip(specs, lists, strict=True)}}
    hold_to_the_slow_way(Schema(specs), json.dumps(document).encode())


@pytest.mark.parametrize("dtype", drawn.DTYPES)
@pytest.mark.parametrize("shape", [(-1,), (-1, 2), (-1, 2, 3)])
@pytest.mark.parametrize("odd", [None, -1, 2, 0.5, True, 127, 128, 255, 256, 70000, 2**31, 2**53, 2**63, 1e39, "1"])
def test_fast_way_gives_large_tensors_as_the_slow_way_does(dtype: str, shape: tuple[int, ...], odd: Any) -> None:
    """In every dtype and depth, perhaps with a value of another type or about where the dtype ends."""
    spec = TensorSpec(np.dtype(dtype), shape)
    leaf = {"b": True, "f": 1.5}.get(spec.type.kind, 3)
    array = np.full((600, *shape[1:]), leaf, dtype=object)
    if odd is not None:
        array.flat[700 % array.size] = odd
    body = json.dumps({"inputs": array.tolist()}).encode()
    hold_to_the_slow_way(Schema([spec]), body)
    if odd is None:
        assert Contract(signature_document(Schema([spec]))).fast_path(request.decode(body)) is not None
