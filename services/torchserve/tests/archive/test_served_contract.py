from __future__ import annotations

import numpy as np
import pytest
from mlflow.types import Schema, TensorSpec
from signet_contract import Contract
from signet_torchserve.archive.served_contract import ServedContract

from testing.oracle import columns_schema, signature_document


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        (columns_schema(("long", "n")), "column 'n'"),
        (columns_schema(("double", "a"), ("integer", "n"), ("long", "m", False)), "column 'n', column 'm'"),
        (columns_schema(("double", None), ("long", None)), "column 1"),
        (
            columns_schema(*(("long", f"x{index}") for index in range(12))),
            ", ".join(f"column 'x{index}'" for index in range(10)) + " and 2 more",
        ),
        (columns_schema(("double", "a"), ("float", "f"), ("boolean", "b"), ("string", "s")), None),
        (Schema([TensorSpec(np.dtype("int64"), (-1, 2))]), None),  # which stays as it is
    ],
)
def test_columns_that_float32_rounds_are_noted(inputs: Schema, named: str | None) -> None:
    """Clients are told which of their whole numbers the model may not get as they are."""
    said = f"The model gets {named} as float32, and float32 rounds whole numbers beyond 16777216."
    assert ServedContract(Contract(signature_document(inputs)), None).notes() == ([said] if named else [])
