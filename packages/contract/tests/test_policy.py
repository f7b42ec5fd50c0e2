from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fast_and_slow import NAMED, UNSAFE, columns, outcome
from signet_contract.contract import Contract
from signet_contract.errors import Rejected
from signet_contract.model_input import ModelInput

from testing.oracle import columns_schema, signature_document


@pytest.mark.parametrize(
    ("allow", "specs", "body", "expected"),
    [
        ("extra_columns", (("double", "a"),), columns(z=["x"], a=[1.5]), [[1.5]]),
        ("nulls", (("double", "a"),), columns(a=[1.5, None]), [[1.5], [np.nan]]),
        ("nulls", (("long", "a"),), columns(a=[1, None]), f"{UNSAFE} float64 to int64. Hint: the type mismatch is"),
        ("non_finite", (("double", "a"),), b'{"inputs": {"a": [1e400, -Infinity]}}', [[np.inf], [-np.inf]]),
        ("non_finite", (("double", "a"),), columns(a=[1e39, 1.5]), [[np.inf], [1.5]]),
        ("non_finite", (("string", "a"),), columns(a=["nan", "-1e39"]), [[np.nan], [-np.inf]]),
        ("mixed_types", (("double", "a"),), columns(a=[1.5, ""]), "Column a has '' in row 1: expected a finite number"),
        ("empty", (("double", "a"),), columns(a=[]), np.empty((0, 1))),
        ("empty", (("string", "a"),), columns(a=[]), f"{UNSAFE} float64 to <U0."),
        ("mixed_types", (("boolean", "a"),), columns(a=[True, 0.5]), [[1.0], [0.5]]),
        ("mixed_types", (("double", "a"),), columns(a=["1.5"]), f"{UNSAFE} str to float64."),
        ("whole_numbers", (("double", "a"),), columns(a=[4, -(2**53)]), [[4.0], [-(2.0**53)]]),
        ("whole_numbers", (("double", "a"),), columns(a=[4, 2**53 + 1]), f"{UNSAFE} int64 to float64."),
        ("whole_numbers", (("double", "a"),), columns(a=[True]), f"{UNSAFE} bool to float64."),
        ("nulls", (("double", "a"),), columns(a=[4]), f"{UNSAFE} int64 to float64."),
    ],
)
def test_a_word_lets_through_what_its_rule_refuses(
    allow: str, specs: tuple[Any, ...], body: bytes, expected: Any
) -> None:
    """Each word of `serving.allow` lifts its own rule, and what MLflow refuses besides stays refused."""
    strict, lax = (Contract(signature_document(columns_schema(*specs)), frozenset(words)) for words in ((), (allow,)))
    assert isinstance(outcome(strict, body), Rejected)
    model_input = outcome(lax, body)
    if isinstance(expected, str):
        assert isinstance(model_input, Rejected)
        assert model_input.message.startswith(expected)
        return
    assert isinstance(model_input, ModelInput), model_input.message
    assert isinstance(model_input.inputs, np.ndarray)
    np.testing.assert_array_equal(model_input.inputs, np.array(expected, np.float32))


@pytest.mark.parametrize(
    ("allow", "body", "expected"),
    [
        ("extra_columns", columns(a=[1.5], b=["x"]), [1.5]),
        ("extra_columns", b'{"dataframe_split": {"columns": ["b", "a"], "data": [["x", 1.5]]}}', [1.5]),
        ("extra_columns", columns(b=[1.5]), "Model is missing inputs ['a']. Note that there were extra inputs: ['b']."),
        ("non_finite", b'{"inputs": {"a": [NaN, Infinity]}}', [np.nan, np.inf]),
        ("empty", columns(a=[]), []),
        ("mixed_types", columns(a=[1.5, True]), [1.5, 1.0]),
        ("mixed_types", columns(a=[1.5, "2"]), "dtype of input"),
    ],
)
def test_words_hold_for_tensors_too(allow: str, body: bytes, expected: Any) -> None:
    """Tensors are let through by the same words, as long as nothing is lost."""
    assert isinstance(outcome(Contract(signature_document(NAMED)), body), Rejected)
    model_input = outcome(Contract(signature_document(NAMED), frozenset([allow])), body)
    if isinstance(expected, str):
        assert isinstance(model_input, Rejected)
        assert model_input.message.startswith(expected)
        return
    assert isinstance(model_input, ModelInput), model_input.message
    assert isinstance(model_input.inputs, dict)
    np.testing.assert_array_equal(model_input.inputs["a"], np.array(expected, np.float32))
