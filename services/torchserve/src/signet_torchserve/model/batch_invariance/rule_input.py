"""What the rules of batch invariance are given: one call, and where the rows are in its tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from signet_torchserve.model.batch_invariance.symbolic_size import ONE, Size
from signet_torchserve.model.operator_calls import Call, tensors


class Mixed(Exception):
    """An operator is not known to keep rows apart; the message is its name."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The dimension that holds the rows: `outer` × rows × `inner` places, in this order, each with data of one row."""

    dim: int
    outer: Size = ONE
    inner: Size = ONE
    are_numbers: bool = False
    """Whether the tensor is `arange(rows)`: the numbers of the rows, which depend on the rows before."""

    def at(self, dim: int) -> Rows:
        return Rows(dim, self.outer, self.inner)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a program. One without rows is the same whatever the rows are."""

    sizes: tuple[Size, ...]
    rows: Rows | None
    is_bool: bool = False

    @property
    def ndim(self) -> int:
        return len(self.sizes)


Outcome = Rows | None | list[Rows | None]
Rule = Callable[["Step"], Outcome]


@dataclass(frozen=True, slots=True)
class Step:
    """One call with what is known of the tensors that it is given.

    Attributes:
        call: the operator and its arguments.
        given: tensors that it is given, by their names in the program.
        results: tensors that it returns; where their rows are is not known yet.
        symbol: the number of rows in sizes.
    """

    call: Call
    given: dict[str, Tensor]
    results: list[Tensor]
    symbol: str

    @property
    def name(self) -> str:
        """The operator's name, without the underscore at the end if it works in place."""
        name = self.call.name
        return name if name.startswith("__") else name.removesuffix("_")

    def tensors(self, *arguments: str) -> list[Tensor]:
        """The tensors of some arguments; of all arguments if none is named."""
        return [
            self.given[name]
            for argument in arguments or self.call.arguments
            for name in tensors(self.call.arguments.get(argument, {}))
        ]

    def lone(self, argument: str = "") -> tuple[Tensor, Rows]:
        """The tensor of an argument, by default the first, and its rows; no other argument may have any."""
        argument = argument or next(iter(self.call.arguments))
        others = self.tensors(*(name for name in self.call.arguments if name != argument)) if self.has_others else []
        (tensor, *more) = self.tensors(argument) or [Tensor((), None)]
        if tensor.rows is None or more or any(other.rows for other in others):
            raise self.mixed
        return tensor, tensor.rows

    @property
    def has_others(self) -> bool:
        """Whether the operator has more than one argument."""
        return len(self.call.arguments) > 1

    def dims(self, argument: str, ndim: int, default: int | list[int] | None = None) -> list[int]:
        """Dimensions that an argument names, counted from the first."""
        value = self.call.value(argument, default)
        values = value if isinstance(value, list) else [value]
        if not values or any(type(dim) is not int for dim in values):
            raise self.mixed
        return [dim % ndim if ndim else 0 for dim in values]

    def demand(self, condition: object) -> None:
        """End the proof if a condition does not hold."""
        if not condition:
            raise self.mixed

    @property
    def mixed(self) -> Mixed:
        """The end of the proof."""
        return Mixed(self.call.operator)

    def stays_in_place(self, rows: list[Rows | None]) -> bool:
        """Whether an operator that works in place leaves the rows where they were."""
        return self.name == self.call.name or [tensor.rows for tensor in self.tensors()[:1]] == rows
