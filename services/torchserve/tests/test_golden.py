from __future__ import annotations

from typing import Any

import pytest
from signet_torchserve.golden import Golden


@pytest.mark.parametrize(
    ("expected", "answer", "is_right"),
    [
        ({"predictions": ["A"]}, {"predictions": ["A"]}, True),
        ({"predictions": ["A"]}, {"predictions": ["B"]}, False),
        ({"predictions": [1.5]}, {"predictions": [1.5000001]}, True),
        ({"predictions": [1.5]}, {"predictions": [1.6]}, False),
        ({"predictions": [0.0]}, {"predictions": [1e-7]}, True),
        ({"predictions": [{"0": 2.0}]}, {"predictions": [{"0": 2}]}, True),
        ({"predictions": [{"0": 2.0}]}, {"predictions": [{"1": 2.0}]}, False),
        ({"predictions": [1.0, 2.0]}, {"predictions": [1.0]}, False),
        ({"predictions": [1]}, {"predictions": [True]}, False),
        ({"predictions": [1.0]}, {"predictions": [True]}, False),
        ({"predictions": [None]}, {"predictions": [None]}, True),
        ("SETOSA", {"predictions": ["SETOSA"]}, False),
        (None, {"predictions": ["whatever"]}, True),
    ],
)
def test_an_answer_is_right_up_to_rounding(expected: Any, answer: Any, is_right: bool) -> None:  # noqa: FBT001
    """Structure, labels and whole numbers must be the same, other numbers about the same."""
    objection = Golden({}, expected).objection(answer)
    assert (objection is None) is is_right
    if objection:
        assert objection == f"The golden rows are answered with {answer}: expected {expected}."
