"""The input sizes that a program accepts: told in words, and compared with those of another program.

A signature may say that a dimension is free (-1). The program may still accept only one size of it, a range, or every
second size. Which ones is tried out: sizes from 1 to beyond every number that the program's guards name.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from signet_torchserve.model.shapes.guards import Guards, Shape

# Sizes up to these bounds are tried one by one; of greater ones, those next to a number that the guards name.
_MOST_TRIED = 2048
_LEAST_TRIED = 64

_FEW = 3
_HUGE = 10**9  # beyond it a bound is none

_ROWS = 0


@dataclass(frozen=True, slots=True)
class AcceptedSizes:
    """The sizes that one version's program takes.

    Attributes:
        inputs: the shapes of its signature, by the name of the input or its place; -1 is any size.
        guards: of the program.
    """

    inputs: Mapping[str, Shape]
    guards: Guards

    def takes(self, shapes: Mapping[str, Shape]) -> bool:
        """Whether the program takes inputs of these shapes."""
        return self.guards.mismatch([shapes[name] for name in self._order()]) is None

    def narrower(self) -> str:
        """What the program takes where its signature admits more, such as `batches of exactly 1`; empty if nowhere."""
        said = [self._of_dimension(dimension, free) for dimension, free in self._free().items()]
        return " and ".join(filter(None, said))

    def __str__(self) -> str:
        """What the program takes."""
        return self.narrower() or "any number of rows"

    def takes_less_than(self, other: AcceptedSizes) -> bool:
        """Whether there are inputs that both signatures admit, and only the other program takes."""
        if {name: len(shape) for name, shape in self.inputs.items()} != {
            name: len(shape) for name, shape in other.inputs.items()
        }:
            return False
        return any(
            other.takes(shapes) and not self.takes(shapes)
            for shapes in itertools.chain(self._points(), other._points())
            if self._admits(shapes) and other._admits(shapes)
        )

    def _order(self) -> list[str]:
        """The inputs' names in the order of the program's, as `Program` hands them on."""
        return self.guards.names if set(self.inputs) == set(self.guards.names) else list(self.inputs)

    def _example(self) -> dict[str, list[int]]:
        """Shapes that the program was exported with, at the sizes that its signature fixes."""
        return {
            name: [there if size == -1 else size for size, there in zip(self.inputs[name], example, strict=False)]
            for name, example in zip(self._order(), self.guards.examples, strict=True)
        }

    def _free(self) -> dict[int, list[str]]:
        """The inputs in which each dimension is free."""
        free: dict[int, list[str]] = {}
        for name, shape in self.inputs.items():
            for dimension, size in enumerate(shape):
                if size == -1:
                    free.setdefault(dimension, []).append(name)
        return free

    def _admits(self, shapes: Mapping[str, Shape]) -> bool:
        return all(
            size in (-1, there)
            for name, shape in self.inputs.items()
            for size, there in zip(shape, shapes[name], strict=True)
        )

    def _tried(self) -> tuple[range, list[int]]:
        """Sizes to try one by one, and greater ones."""
        named = sorted({number for number in self.guards.numbers() if 0 < number < _HUGE})
        most = max([_LEAST_TRIED, *(2 * number + 2 for number in named if 2 * number < _MOST_TRIED)])
        return range(1, most + 1), [
            size for number in named for size in (number - 1, number, number + 1) if size > most
        ]

    def _points(self) -> Iterator[dict[str, list[int]]]:
        """Shapes with each free dimension at each size, of one input and of all."""
        for dimension, free in self._free().items():
            few, great = self._tried()
            for names in ([name] for name in free) if len(free) == 1 else (*([name] for name in free), free):
                for size in (*few, *great):
                    yield self._with(names, dimension, size)

    def _with(self, names: Sequence[str], dimension: int, size: int) -> dict[str, list[int]]:
        shapes = self._example()
        for name in names:
            shapes[name][dimension] = size
        return shapes

    def _of_dimension(self, dimension: int, free: list[str]) -> str:
        def described(names: Sequence[str]) -> str:
            return _described(
                lambda size: self.takes(self._with(names, dimension, size)), *self._tried(), _noun(dimension)
            )

        if len(free) == 1:
            place = "" if dimension == _ROWS else f" of input {free[0]!r}" if len(self.inputs) > 1 else ""
            said = described(free)
            return said and said + place
        together = described(free)
        each = {name: described([name]) for name in free}
        if not any(each.values()):
            return together
        example = self._example()
        if all(
            not self.takes(self._with([name], dimension, example[name][dimension] + 1)) for name in free
        ) and self.takes(self._with(free, dimension, example[free[0]][dimension])):
            equal = "as many rows in each input" if dimension == _ROWS else f"inputs of equal dimension {dimension}"
            return f"{equal}, {together}" if together else equal
        others = {name: " and ".join(_beside(example, free, name, dimension)) for name in free}
        return " and ".join(f"{said} of input {name!r} beside {others[name]}" for name, said in each.items() if said)


def _beside(example: Mapping[str, Shape], free: Sequence[str], name: str, dimension: int) -> Iterator[str]:
    return (f"{example[other][dimension]} of {other!r}" for other in free if other != name)


@dataclass(frozen=True, slots=True)
class _Noun:
    """How sizes of one dimension are called."""

    all: str
    exactly: str
    some: str
    even: str
    odd: str


def _noun(dimension: int) -> _Noun:
    if dimension == _ROWS:
        return _Noun(
            "any number of rows",
            "batches of exactly {}",
            "{} rows",
            "an even number of rows",
            "an odd number of rows",
        )
    place = f"in dimension {dimension}"
    return _Noun(
        f"any size {place}",
        f"exactly {{}} {place}",
        f"{{}} {place}",
        f"an even size {place}",
        f"an odd size {place}",
    )


def _described(takes: Callable[[int], bool], few: range, great: Sequence[int], noun: _Noun) -> str:  # noqa: PLR0911 -- one for each kind of sizes
    """The sizes that are taken, in words; empty if all are."""
    taken = [size for size in few if takes(size)]
    refused = next((size for size in great if not takes(size)), None)
    if not taken:
        return noun.some.format(next((f"{size}" for size in great if takes(size)), "no"))
    first, last = taken[0], taken[-1]
    steps = {after - before for before, after in itertools.pairwise(taken)}
    step = max(steps, default=0)
    if len(steps) == 1 and step > 1 and last + step > few[-1]:
        if step == 2 and first <= step:  # noqa: PLR2004 -- even or odd
            return noun.even if first == step else noun.odd
        return noun.some.format(f"{first}, {first + step}, {first + 2 * step}, …")
    gaps = sorted(set(range(first, last + 1)) - set(taken))
    is_endless = last == few[-1] and refused is None
    if last == few[-1] and refused is not None and not gaps:
        last = _last(takes, last, refused)
    if len(taken) == 1:
        return noun.exactly.format(first)
    if not gaps:
        if is_endless:
            return "" if first == 1 else noun.some.format(f"{first} or more")
        return noun.some.format(f"at most {last}" if first == 1 else f"from {first} to {last}")
    if is_endless and len(gaps) <= _FEW:
        start = noun.all if first == 1 else noun.some.format(f"{first} or more")
        return f"{start}, but not {_listed(gaps, 'or')}"
    if len(taken) <= _FEW:
        return noun.some.format(_listed(taken, "or"))
    return noun.some.format(", ".join(map(str, taken[: _FEW + 2])) + ", …")


def _last(takes: Callable[[int], bool], taken: int, refused: int) -> int:
    """The greatest size of a range, between one that is taken and one that is not."""
    while refused - taken > 1:
        middle = (taken + refused) // 2
        taken, refused = (middle, refused) if takes(middle) else (taken, middle)
    return taken


def _listed(sizes: Sequence[int], word: str) -> str:
    *others, last = map(str, sizes)
    return f"{', '.join(others)} {word} {last}" if others else last
