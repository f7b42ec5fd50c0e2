from __future__ import annotations

from typing import Any

import pytest
from signet_torchserve.archive.golden import Golden, are_close


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
def test_an_answer_is_right_up_to_rounding(expected: Any, answer: Any, is_right: bool) -> None:
    """Structure, labels and whole numbers must be the same, other numbers about the same."""
    mismatch = Golden({}, expected).mismatch(answer)
    assert (mismatch is None) is is_right
    if mismatch:
        assert mismatch == f"The golden request is answered with {answer}: expected {expected}."


@pytest.mark.parametrize(
    ("answer", "other", "is_so"),
    [
        ({"predictions": [1.0, 1e6]}, {"predictions": [1.5, 1e6]}, True),
        ({"predictions": [1.0, 1e3]}, {"predictions": [1.5, 1e3]}, False),
        ({"predictions": ["A"]}, {"predictions": ["B"]}, False),
        ({"predictions": [None]}, {"predictions": [1.0]}, False),
        ({"predictions": [[1, 2]]}, {"predictions": [[1, 2]]}, True),
    ],
)
def test_answers_are_the_same_up_to_rounding(answer: Any, other: Any, is_so: bool) -> None:
    """A sum is as exact as its greatest terms are."""
    assert are_close(answer, other) is is_so


def test_a_neighbour_has_other_numbers() -> None:
    """The neighbour has the golden request's form, and its indices, names and texts."""
    golden = Golden({"dataframe_split": {"columns": ["a", "b"], "data": [[1.5, 2], [0.5, 3]]}, "params": {"t": None}})
    assert golden.neighbour == {
        "dataframe_split": {"columns": ["a", "b"], "data": [[-1500.0, 2], [-500.0, 3]]}, "params": {"t": None},
    }  # fmt: skip
