from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fast_and_slow import columns, outcome, signature
from mlflow.types import ParamSchema, ParamSpec
from signet_contract.contract import Contract
from signet_contract.errors import Rejected
from signet_contract.model_input import ModelInput

from testing.oracle import columns_schema, signature_document


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1e400"])
@pytest.mark.parametrize("value", ["%s", "[0.5, %s]"])
def test_params_are_finite_too(value: str, number: str) -> None:
    """A param that is sent is held to the same rule; the default of one that is not is the author's business."""
    shape = (-1,) if "[" in value else None
    specs = ParamSchema([ParamSpec("t", "double", [1.0] if shape else 1.0, shape), ParamSpec("most", "float", np.inf)])
    document = signature_document(columns_schema(("double", "a")), specs)
    body = b'{"inputs": {"a": [1.5]}, "params": {"t": %s}}' % (value % number).encode()
    rejection = outcome(Contract(document), body)
    assert isinstance(rejection, Rejected)
    assert rejection.rule == "finite"
    assert rejection.message.startswith("Param t has ")
    model_input = outcome(Contract(document, frozenset({"non_finite"})), body)
    assert isinstance(model_input, ModelInput)
    assert not np.isfinite(model_input.params["t"]).all()
    assert model_input.params["most"] == np.inf


@pytest.mark.parametrize("others", [[], [None], ["value"], ["value", None]])
@pytest.mark.parametrize(
    ("type_", "value", "is_served"),
    [
        ("double", 1.5, True),
        ("float", 1.5, True),
        ("float", 2, True),
        ("long", 2, False),
        ("integer", 2, False),
        ("boolean", True, True),
        ("string", "1.5", True),
        ("datetime", "2020-01-02", True),
        ("binary", "MS41", True),
    ],
)
def test_a_null_is_served_or_refused_whatever_its_neighbours_are(
    type_: str, value: Any, others: list[Any], *, is_served: bool
) -> None:
    """A null in an optional column is NaN for the model, or refused for its type, as MLflow refuses it."""
    values = [None, *(value if other == "value" else other for other in others)]
    result = outcome(signature(("double", "r"), (type_, "o", False)), columns(r=[0.5] * len(values), o=values))
    assert isinstance(result, ModelInput) is is_served
    if isinstance(result, ModelInput):
        assert isinstance(result.inputs, np.ndarray)
        assert np.isnan(result.inputs).tolist() == [[False, other is None] for other in values]


@pytest.mark.parametrize("text", ["", "nan", "NaT", "now", "today"])
@pytest.mark.parametrize("required", [True, False])
def test_a_text_that_is_no_date_is_no_number(text: str, *, required: bool) -> None:
    """A column of dates takes dates: what stands for none of them is refused, or NaN as a null is."""
    result = outcome(signature(("datetime", "a", required)), columns(a=["2020-01-02", text]))
    if isinstance(result, ModelInput):
        assert not required
        assert isinstance(result.inputs, np.ndarray)
        assert np.isnan(result.inputs[1, 0])
