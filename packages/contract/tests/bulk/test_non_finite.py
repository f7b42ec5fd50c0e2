from __future__ import annotations

import json

import numpy as np
import pytest
import simdjson
from hypothesis import example, given
from hypothesis import strategies as st
from signet_contract.bulk import non_finite
from signet_contract.model_input import Array

_mantissas = st.sampled_from(
    ["0", "0.0", "1", "1.0", "9.75", "-3", "0.5", "0.00000000001", "123456789012345678", "01", ""]
)
_exponents = st.sampled_from(
    ["", "e5", "E-7", "e40", "e99", "e-400", "e0400", "e280", "e308", "e309", "e+", "e40x"]
) | (st.sampled_from(["e400", "e+400", "E400", "E+999", "e4000", "e++400", "e+-400"]))
_words = st.sampled_from(["NaN", "Infinity", "-Infinity", "-NaN", "1NaN", "Infinity5", "5-Infinity", "1e250", "nan"])
_numbers = st.builds(lambda mantissa, exponent: mantissa + exponent, _mantissas, _exponents) | _words


def _parsed(text: bytes) -> Array:
    return np.array(simdjson.Parser().parse(b"[" + text + b"]").as_list(), np.float64)


@given(some=st.lists(_numbers, min_size=1, max_size=6))
@example(some=["1e400", "-1E+400", "1.5"])
@example(some=["NaN", "1e400", "-Infinity"])
def test_numbers_that_are_not_finite_are_read_as_python_reads_them(some: list[str]) -> None:
    """Whatever stands beside them, and however they are written; else nothing is read."""
    text = ",".join(some)
    try:
        found = non_finite.read(_parsed, text.encode())
    except ValueError:
        assert some not in (["1e400", "-1E+400", "1.5"], ["NaN", "1e400", "-Infinity"])
    else:
        np.testing.assert_array_equal(found, np.array(json.loads(f"[{text}]"), np.float64))


@pytest.mark.parametrize(
    "text",
    ["0e400,1e400", "1e308,1e400", "1e400,1e300", "1e309", "-NaN", "1NaN", "1e250,NaN", "1e400,x", '"e400":1e400'],
)
def test_what_may_be_finite_or_is_no_number_is_not_read(text: str) -> None:
    """It is for a parser that takes its time."""
    with pytest.raises(ValueError, match=r"."):
        non_finite.read(_parsed, text.encode())


def test_an_item_that_is_not_finite_has_the_types_of_its_numbers() -> None:
    """So that a list's first item says how the others look."""
    found = non_finite.loads(b"[1e400, 2, true, -1.5E+400, NaN, -Infinity]")
    assert list(map(type, found)) == [float, int, bool, float, float, float]
