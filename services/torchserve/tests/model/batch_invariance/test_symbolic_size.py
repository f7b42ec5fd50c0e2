from __future__ import annotations

from typing import Any

import pytest
from signet_torchserve.model.batch_invariance.symbolic_size import Size, product

N = "Symbol('s77', positive=True, integer=True)"


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ({"as_int": 3}, Size(3)),
        ({"as_expr": {"expr_str": N}}, Size(1, ("s77",))),
        ({"as_expr": {"expr_str": f"Mul(Integer(2), {N})"}}, Size(2, ("s77",))),
        ({"as_expr": {"expr_str": f"Mul(Integer(6), Symbol('s53'), {N})"}}, Size(6, ("s53", "s77"))),
        ({"as_expr": {"expr_str": f"Add({N}, Integer(1))"}}, Size(1, (f"Add({N}, Integer(1))",))),
        ({"as_expr": {"expr_str": f"Pow({N}, Integer(2))"}}, Size(1, (f"Pow({N}, Integer(2))",))),
    ],
)
def test_a_size_is_a_product_of_numbers_and_symbols(size: dict[str, Any], expected: Size) -> None:
    """As torch writes it; any other formula is a symbol by itself, which still depends on those that it holds."""
    assert Size.read(size) == expected
    assert Size.read(size).holds("s77") == ("s77" in str(expected))
    assert not Size.read(size).holds("s7")


@pytest.mark.parametrize(
    ("size", "divisor", "quotient"),
    [
        (Size(6, ("n",)), Size(2), Size(3, ("n",))),
        (Size(6, ("n",)), Size(6, ("n",)), Size(1)),
        (Size(6, ("n",)), Size(4), None),
        (Size(6), Size(2, ("n",)), None),
        (Size(6), Size(0), None),
    ],
)
def test_sizes_divide_only_without_a_remainder(size: Size, divisor: Size, quotient: Size | None) -> None:
    """What is no product again is no size."""
    assert size.over(divisor) == quotient
    assert quotient is None or product([quotient, divisor]) == size
