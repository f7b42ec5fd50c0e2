"""Arithmetic on sizes, as torch writes it into an exported program, made into a function without running the text.

torch writes the size of a dimension as sympy's constructors (`Add(Symbol('s77'), Integer(-1))`), and a guard as Python
(`(L['x'].size()[0] % 8) == 0`). Both are read here. Only the parts that stand for values (`Symbol('s77')`,
`L['x'].size()[0]`) differ; the caller reads them.

Source: torch/utils/_sympy/printers.py and torch/_export/serde/serialize.py of torch 2.13.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from functools import partial, reduce
from typing import Any

Function = Callable[[Any], Any]
Leaf = Callable[[ast.expr], Function | None]

# What calculating raises where sizes have no result, such as a division by 0.
NO_RESULT = (ArithmeticError, TypeError, ValueError)

_MAX_EXPONENT = 64  # no size needs more, and a much greater power would never be calculated to its end

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}


def _power(base: Any, exponent: Any) -> Any:
    if abs(exponent) > _MAX_EXPONENT:
        raise OverflowError(f"{base} ** {exponent}")
    return base**exponent


def _ceiling_division(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def _modular_indexing(base: int, divisor: int, modulus: int) -> int:
    return base // divisor % modulus


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_CALLS: dict[str, Callable[..., Any]] = {
    "Abs": abs,
    "Add": lambda *terms: sum(terms),
    "CeilDiv": _ceiling_division,
    "CleanDiv": operator.floordiv,
    "FloorDiv": operator.floordiv,
    "Integer": int,
    "Max": max,
    "Min": min,
    "Mod": operator.mod,
    "ModularIndexing": _modular_indexing,
    "Mul": lambda *factors: reduce(operator.mul, factors),
    "Pow": _power,
    "PowByNatural": _power,
    "PythonMod": operator.mod,
    "abs": abs,
    "bool": bool,
    "float": float,
    "int": int,
    "math.ceil": math.ceil,
    "math.floor": math.floor,
    "math.sqrt": math.sqrt,
    "math.trunc": math.trunc,
    "max": max,
    "min": min,
    "round": round,
    "torch._sym_log2": math.log2,
    "torch._sym_sqrt": math.sqrt,
    "torch.sym_float": float,
    "torch.sym_int": int,
    "torch.sym_max": max,
    "torch.sym_min": min,
    "torch.sym_not": operator.not_,
}
_CONSTANTS = {"inf": math.inf, "math.inf": math.inf, "math.nan": math.nan}


def read(text: str, leaf: Leaf) -> Function:
    """Function of the values from which a formula calculates its result.

    Args:
        text: the formula.
        leaf: gives, for a part of the formula that stands for a value, the function that looks it up; else None.

    Raises:
        ValueError: the text holds something else than arithmetic on such values.
    """
    try:
        return _read(ast.parse(text, mode="eval").body, leaf)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"{text[:200]!r} is no formula: {error}") from error


def _read(node: ast.expr, leaf: Leaf) -> Function:  # noqa: PLR0911 -- one for each kind of node
    if found := leaf(node):
        return found
    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            return lambda _: value
        case ast.Name() | ast.Attribute() if (name := _name(node)) in _CONSTANTS:
            return lambda _: _CONSTANTS[name]
        case ast.UnaryOp(op=unary, operand=operand) if type(unary) in _UNARY:
            return _applied(_UNARY[type(unary)], [_read(operand, leaf)])
        case ast.BinOp(left=left, op=binary, right=right) if type(binary) in _BINARY:
            return _applied(_BINARY[type(binary)], [_read(left, leaf), _read(right, leaf)])
        case ast.BoolOp(op=junction, values=nodes):
            parts = [_read(part, leaf) for part in nodes]
            return partial(_all if isinstance(junction, ast.And) else _any, parts)
        case ast.Compare(left=left, ops=comparisons, comparators=others) if all(
            type(comparison) in _COMPARISONS for comparison in comparisons
        ):
            terms = [_read(term, leaf) for term in (left, *others)]
            return partial(_all, list(map(_compared, comparisons, terms, terms[1:])))
        case ast.Call(func=function, args=arguments, keywords=[]) if _name(function) in _CALLS:
            return _applied(_CALLS[_name(function)], [_read(argument, leaf) for argument in arguments])
    raise ValueError(f"{ast.unparse(node)!r} is no arithmetic that is known")


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name(id=module), attr=name):
            return f"{module}.{name}"
    return ""


def _applied(function: Callable[..., Any], arguments: list[Function]) -> Function:
    return lambda values: function(*[argument(values) for argument in arguments])


def _compared(comparison: ast.cmpop, left: Function, right: Function) -> Function:
    return _applied(_COMPARISONS[type(comparison)], [left, right])


def _all(parts: list[Function], values: Any) -> bool:
    return all(part(values) for part in parts)


def _any(parts: list[Function], values: Any) -> bool:
    return any(part(values) for part in parts)
