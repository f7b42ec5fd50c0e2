"""Whether what a program returns is what its signature promises, whatever the number of rows.

The program is called to find out, as its formulas don't tell: a `squeeze()` that was exported with several rows drops
the first dimension of a single row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from signet_contract.model_input import Array, admits_shape

from signet_torchserve.errors import NotServable

Spec = dict[str, Any]

_KINDS = {"b": "booleans", "i": "whole numbers", "u": "whole numbers", "f": "numbers"}
_COLUMN_KINDS = {
    "boolean": "booleans",
    "integer": "whole numbers",
    "long": "whole numbers",
    "float": "numbers",
    "double": "numbers",
    "string": "texts",
}


def checked(promised: Sequence[Spec], answers: Mapping[int, Any]) -> list[int] | None:
    """Refuse outputs that are not as promised; of a program that drops a single row's dimension, tell what is missing.

    Args:
        promised: the output specs of the signature; empty if it has none, or if labels are answered.
        answers: what the program returned, by the number of its rows.

    Returns:
        How many dimensions each output of a single row ought to have, as `restored` takes it; None if none is dropped.

    Raises:
        NotServable: the program returned other outputs than the signature promises, or what JSON cannot hold.
    """
    for array in _arrays(list(answers.values())):
        if array.dtype.kind not in _KINDS:
            raise NotServable(
                f"The program returns {array.dtype} for the dtypes of its signature: expected real numbers."
            )
    ranks = _ranks(promised, answers)
    single = list(_arrays(answers.get(1)))
    loses = len(single) == len(ranks) and any(map(_lacks_one, single, ranks))
    for rows, answer in answers.items():
        _check(promised, rows, restored(answer, ranks) if loses and rows == 1 else answer)
    return ranks if loses else None


def restored(output: Any, ranks: Sequence[int]) -> Any:
    """The output of a single row, with a first dimension of 1 for each array that lacks it."""
    rest = iter(ranks)

    def walk(node: Any) -> Any:
        if isinstance(node, np.ndarray):
            return node[np.newaxis] if _lacks_one(node, next(rest)) else node
        if isinstance(node, dict):
            return {name: walk(value) for name, value in node.items()}
        return [walk(value) for value in node] if isinstance(node, list) else node

    return walk(output)


def _lacks_one(array: Array, rank: int) -> bool:
    return array.ndim == rank - 1


def _ranks(promised: Sequence[Spec], answers: Mapping[int, Any]) -> list[int]:
    """How many dimensions the arrays ought to have: as promised, or else as they have for several rows."""
    if promised and promised[0]["type"] == "tensor":
        specs = next((_in_order(promised, answer) for answer in answers.values()), promised)
        return [len(spec["tensor-spec"]["shape"]) for spec in specs]
    several = [
        [array.ndim if array.shape[:1] == (rows,) else 0 for array in _arrays(answer)]
        for rows, answer in answers.items()
        if rows > 1
    ]
    return several[0] if several and all(ranks == several[0] for ranks in several) else []


def _check(promised: Sequence[Spec], rows: int, answer: Any) -> None:
    if not promised:
        return
    arrays = list(_arrays(answer))
    if promised[0]["type"] == "tensor":
        if len(arrays) != len(promised):
            raise NotServable(
                f"The program returns {_counted(len(arrays), 'output')}, but its signature promises {len(promised)}."
            )
        for spec, array in zip(_in_order(promised, answer), arrays, strict=True):
            shape = spec["tensor-spec"]["shape"]
            if not admits_shape(shape, array.shape):
                raise NotServable(
                    f"The program answers {_counted(rows, 'row')} with {_named(spec)} of the shape {array.shape}, but "
                    f"its signature promises {tuple(shape)}."
                )
            _check_kind(spec, _KINDS.get(np.dtype(spec["tensor-spec"]["dtype"]).kind), array)
        return
    widths = [array.shape[1] if array.ndim > 1 else 1 for array in arrays]
    if sum(widths) != len(promised) or any(array.ndim > 2 for array in arrays):  # noqa: PLR2004 -- rows and columns
        shapes = " and ".join(str(array.shape) for array in arrays)
        raise NotServable(
            f"The program answers {_counted(rows, 'row')} with an output of the shape {shapes}, but its signature "
            f"promises {_counted(len(promised), 'column')}."
        )
    columns = iter(promised)
    for width, array in zip(widths, arrays, strict=True):
        for _ in range(width):
            spec = next(columns)
            _check_kind(spec, _COLUMN_KINDS.get(str(spec["type"])), array)


def _check_kind(spec: Spec, promised: str | None, array: Array) -> None:
    """Refuse another kind of JSON value; a whole number is a number, too."""
    kind = _KINDS[array.dtype.kind]
    if promised not in (None, kind) and (promised, kind) != ("numbers", "whole numbers"):
        raise NotServable(f"The program returns {kind} as {_named(spec)}, but its signature promises {promised}.")


def _in_order(promised: Sequence[Spec], answer: Any) -> Sequence[Spec]:
    """The specs in the order of the answer's arrays."""
    if not isinstance(answer, dict) or not all(spec.get("name") for spec in promised):
        return promised
    names = {spec["name"]: spec for spec in promised}
    if names.keys() != answer.keys():
        raise NotServable(f"The program returns the outputs {list(answer)}, but its signature promises {list(names)}.")
    return [names[name] for name in answer]


def _arrays(output: Any) -> Iterator[Array]:
    if isinstance(output, np.ndarray):
        yield output
    elif isinstance(output, (dict, list)):
        for inner in output.values() if isinstance(output, dict) else output:
            yield from _arrays(inner)


def _named(spec: Spec) -> str:
    return f"the output {spec['name']!r}" if spec.get("name") else "an output"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
