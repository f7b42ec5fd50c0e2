"""Checks the sizes of a program's inputs: it takes those that torch's own module takes, and no others.

torch writes into a program the size of each dimension (a number, or a formula of symbols), the range of each symbol,
and guards: whatever else the program's branches and shapes assume of the sizes. `ExportedProgram.module()` checks all
of these on each call, but only if the file holds its sample inputs, and those are a pickle. Here they are read from the
program's JSON.

Source: `_get_input_guards_for_graph` in torch/export/_unlift.py of torch 2.13.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from signet_torchserve.errors import NotServable
from signet_torchserve.model.pt2_schema import LEAST_BOUND, program_json
from signet_torchserve.model.shapes import formula

Shape = Sequence[int]
Symbols = dict[str, int]

# How many admitted shapes are remembered at most: clients choose them.
_MAX_SHAPES = 1024


class Guards:
    """The sizes that a program takes.

    Attributes:
        names: of its inputs, in their order.
        sizes: of each input: of each dimension the number, or the formula of symbols as text.
        examples: the shapes of the inputs that it was exported with.
        admitted: the inputs' shapes that `hold` has admitted.

    Args:
        program: the JSON of its `models/model.json`.

    Raises:
        NotServable: it has a guard, or a size, that cannot be calculated from its inputs' sizes.
        KeyError: the JSON has another form than torch's; so can IndexError, TypeError and ValueError.
    """

    def __init__(self, program: dict[str, Any]) -> None:
        module = program["graph_module"]
        call = module["module_call_graph"][0]["signature"]
        inputs = [
            spec["user_input"]["arg"]["as_tensor"]["name"]
            for spec in module["signature"]["input_specs"]
            if "user_input" in spec and "as_tensor" in spec["user_input"]["arg"]
        ]
        metas = [module["graph"]["tensor_values"][name]["sizes"] for name in inputs]
        self.names: list[str] = (call["forward_arg_names"] or inputs)[: len(inputs)]
        written = [[_written(size) for size in sizes] for sizes in metas]
        self.sizes = [[_short(size) for size in sizes] for sizes in written]
        self.examples = [[_example(size) for size in sizes] for sizes in metas]
        self.admitted: dict[tuple[Shape, ...], None] = {}
        self._symbols: dict[str, tuple[int, int]] = {}  # where the size of each is found: input and dimension
        for index, sizes in enumerate(written):
            for dimension, size in enumerate(sizes):
                if isinstance(size, str) and (symbol := _symbol(size)):
                    self._symbols.setdefault(symbol, (index, dimension))
        self._dimensions = [
            (index, dimension, size if isinstance(size, int) else self._formula(size))
            for index, sizes in enumerate(written)
            for dimension, size in enumerate(sizes)
        ]
        self._ranges = [
            (text, self._formula(text), limits["min_val"], limits["max_val"])
            for text, limits in program["range_constraints"].items()
            if self._is_of_inputs(text)
        ]
        self._guards = [(self._shown(text), self._guard(text)) for text in program["guards_code"]]

    @classmethod
    def of(cls, path: Path) -> Self:
        """The guards of a .pt2 file.

        Raises:
            NotServable, KeyError and the like: as above.
        """
        return cls(program_json(path))

    def hold(self, shapes: tuple[Shape, ...]) -> None:
        """Refuse shapes that torch's own module would refuse. Other shapes are remembered in `admitted`.

        Raises:
            ValueError: the program does not take inputs of these shapes.
        """
        if mismatch := self.mismatch(shapes):
            got = ", ".join(f"{name} {list(shape)}" for name, shape in zip(self.names, shapes, strict=False))
            raise ValueError(f"{mismatch}, but got {got}")
        if len(self.admitted) >= _MAX_SHAPES:
            self.admitted.clear()
        self.admitted[shapes] = None

    def mismatch(self, shapes: Sequence[Shape]) -> str | None:
        """What the program expects of its inputs' sizes that is not so for `shapes`; None if it takes them."""
        if [*map(len, shapes)] != [*map(len, self.sizes)]:
            return f"Expected inputs of the shapes {self}"
        symbols = {symbol: shapes[index][dimension] for symbol, (index, dimension) in self._symbols.items()}
        try:
            are_right = all(
                shapes[index][dimension] == (size if isinstance(size, int) else size(symbols))
                for index, dimension, size in self._dimensions
            ) and all(_is_within(value(symbols), low, high) for _, value, low, high in self._ranges)
        except formula.NO_RESULT:
            are_right = False
        if not are_right:
            return f"Expected inputs of the shapes {self}"
        for text, holds in self._guards:
            if not _is_so(holds, shapes):
                return f"Expected inputs with {text}, for which the program was exported"
        return None

    def numbers(self) -> set[int]:
        """All whole numbers in the guards, sizes, ranges and examples: what the program takes may change there."""
        found = {size for sizes in self.sizes for size in sizes if isinstance(size, int)}
        found.update(size for sizes in self.examples for size in sizes)
        for _, _, low, high in self._ranges:
            found.update(limit for limit in (low, high) if limit is not None)
        for text, _ in self._guards:
            found.update(map(int, re.findall(r"(?<![\w.\[])\d+(?![\w.\]])", text)))
        return found

    def __str__(self) -> str:
        """The shapes, with the ranges of their symbols: `x [s77, 2] (s77 <= 6)`."""
        shapes = ", ".join(
            f"{name} [{', '.join(map(str, sizes))}]" for name, sizes in zip(self.names, self.sizes, strict=True)
        )
        ranges = ", ".join(
            "".join((f"{low} <= " if low is not None else "", text, f" <= {high}" if high is not None else ""))
            for text, _, low, high in self._ranges
        )
        return f"{shapes} ({ranges})" if ranges else shapes

    def _formula(self, text: str) -> Callable[[Symbols], int]:
        """Function of the symbols' values, in either of torch's spellings."""

        def leaf(node: ast.expr) -> formula.Function | None:
            match node:
                case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(name))]) | ast.Name(id=name):
                    if name not in self._symbols:
                        raise NotServable(
                            f"The program has the size {_short(text)}, of which {name} is not the size of any input: "
                            "expected sizes that follow from those of the inputs."
                        )
                    return lambda symbols: symbols[name]
            return None

        return formula.read(text, leaf)

    def _is_of_inputs(self, text: str) -> bool:
        """Whether a range limits a size of the inputs; other ranges limit values that the program computes."""
        names = {node.id for node in ast.walk(_parsed(text)) if isinstance(node, ast.Name)}
        return names <= self._symbols.keys()

    def _guard(self, text: str) -> Callable[[Sequence[Shape]], bool]:
        def leaf(node: ast.expr) -> formula.Function | None:
            place = self._place(node)
            return place and (lambda shapes: shapes[place[0]][place[1]])

        try:
            return formula.read(text, leaf)
        except ValueError as error:
            raise NotServable(f"The program has the guard {text}, which cannot be checked: {error}.") from error

    def _place(self, node: ast.expr) -> tuple[int, int] | None:
        """Input and dimension that a part of a guard stands for, such as `L['x'].size()[0]`."""
        match node:
            case ast.Subscript(
                value=ast.Call(func=ast.Attribute(value=source, attr="size"), args=[], keywords=[]),
                slice=ast.Constant(value=int(dimension)),
            ):
                index = self._input(source)
                if index is not None and dimension < len(self.sizes[index]):
                    return index, dimension
        return None

    def _input(self, source: ast.expr) -> int | None:
        name: str | None = None
        match source:
            case ast.Subscript(value=ast.Name(id="L"), slice=ast.Constant(value=str(name))):
                pass
            case ast.Subscript(
                value=ast.Subscript(value=ast.Name(id="L"), slice=ast.Constant(value=str(base))),
                slice=ast.Constant(value=int(number)),
            ):
                if base == "flat_args":  # torch's list of all inputs
                    return number if number < len(self.names) else None
                name = f"{base}_{number}"
        return self.names.index(name) if name in self.names else None

    def _shown(self, text: str) -> str:
        """A guard as people write it: `x.shape[0] % 2 == 0`."""
        names = self.names
        place = self._place

        class Shown(ast.NodeTransformer):
            def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
                found = place(node)
                return node if found is None else ast.Name(id=f"{names[found[0]]}.shape[{found[1]}]")

        return ast.unparse(Shown().visit(_parsed(text)))


def _parsed(text: str) -> ast.Expression:
    try:
        return ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise ValueError(f"{text!r} is no formula: {error}") from error


def _is_within(value: int, low: int | None, high: int | None) -> bool:
    # torch.export gives `LEAST_BOUND` to every free size, but its module takes 1.
    return (low is None or low <= LEAST_BOUND or value >= low) and (high is None or value <= high)


def _is_so(holds: Callable[[Sequence[Shape]], bool], shapes: Sequence[Shape]) -> bool:
    try:
        return bool(holds(shapes))
    except formula.NO_RESULT:
        return False


def _written(size: dict[str, Any]) -> int | str:
    number = size.get("as_int")
    return int(number) if number is not None else str(size["as_expr"]["expr_str"])


def _example(size: dict[str, Any]) -> int:
    number = size.get("as_int")
    return int(number if number is not None else size["as_expr"]["hint"]["as_int"])


def _symbol(text: str) -> str | None:
    match _parsed(text).body:
        case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(name))]):
            return name
    return None


def _short(size: int | str) -> int | str:
    """A size without sympy's names: `s77`, `Add(s77, 1)`."""
    return re.sub(r"Symbol\('(\w+)'[^)]*\)|Integer\((-?\d+)\)", r"\1\2", size) if isinstance(size, str) else size
