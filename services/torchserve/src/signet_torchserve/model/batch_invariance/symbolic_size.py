"""Sizes of a program's tensors, as products of numbers and symbols: `3`, `s77`, `2*s77`."""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Size:
    """A product. Any other formula, such as `s77 + 1`, counts as one symbol, named by its text."""

    factor: int = 1
    symbols: tuple[str, ...] = ()

    @classmethod
    def read(cls, size: dict[str, Any]) -> Self:
        """The size in the JSON of a program."""
        if "as_int" in size:
            return cls(size["as_int"])
        return cls(*_parsed(size["as_expr"]["expr_str"]))

    def __mul__(self, other: Size) -> Size:
        return Size(self.factor * other.factor, tuple(sorted(self.symbols + other.symbols)))

    def over(self, other: Size) -> Size | None:
        """The quotient; None if it is no product."""
        left = Counter(self.symbols)
        left.subtract(other.symbols)
        if not other.factor or self.factor % other.factor or min(left.values(), default=0) < 0:
            return None
        return Size(self.factor // other.factor, tuple(sorted(left.elements())))

    def holds(self, symbol: str) -> bool:
        """Whether the size depends on a symbol."""
        return any(mentions(text, symbol) for text in self.symbols)


ONE = Size()


def product(sizes: Iterable[Size]) -> Size:
    """Number of elements of a tensor with these sizes."""
    total = ONE
    for size in sizes:
        total *= size
    return total


def mentions(formula: str, symbol: str) -> bool:
    """Whether a formula's text holds a symbol."""
    return bool(re.search(rf"\b{re.escape(symbol)}\b", formula))


@functools.lru_cache
def _parsed(formula: str) -> tuple[int, tuple[str, ...]]:
    factor, symbols = _product(ast.parse(formula, mode="eval").body)
    return factor, tuple(sorted(symbols))


def _product(node: ast.expr) -> tuple[int, list[str]]:
    match node:
        case ast.Constant(value=int(value)):
            return value, []
        case ast.Call(func=ast.Name(id="Integer"), args=[ast.Constant(value=int(value))]):
            return value, []
        case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(name))]):
            return 1, [name]
        case ast.Call(func=ast.Name(id="Mul"), args=factors):
            factor, symbols = 1, list[str]()
            for one in factors:
                number, more = _product(one)
                factor *= number
                symbols += more
            return factor, symbols
    return 1, [ast.unparse(node)]
