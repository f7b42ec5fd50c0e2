"""The fast path of a signature's params: what MLflow would make of those that are plainly right.

As in MLflow's `_enforce_params_schema`, a param that the signature does not have is dropped. A param that was not sent
gets its default, and stands behind the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from signet_contract.bulk.numbers import Numbers
from signet_contract.model_input import EXACT

# Python types of plainly right values, and what MLflow makes of them.
_CONVERSIONS: dict[str, tuple[frozenset[type], Callable[[Any], Any]]] = {
    "double": (frozenset({float, int}), float),
    "float": (frozenset({float, int}), float),
    "long": (frozenset({int}), int),
    "integer": (frozenset({int}), int),
    "boolean": (frozenset({bool}), bool),
    "string": (frozenset({str}), str),
}


class Params:
    """Params of an MLflow schema, each a number, a boolean, a text or a list of one of these.

    Args:
        specs: the params as the MLmodel file lists them.
    """

    def __init__(self, specs: list[dict[str, Any]]) -> None:
        self._params = {str(spec["name"]): _Param(spec) for spec in specs}
        self._defaults = {str(spec["name"]): self._params[str(spec["name"])].read(spec["default"]) for spec in specs}

    @staticmethod
    def can_read(specs: list[dict[str, Any]]) -> bool:
        """Whether the params' types are known to this class, and their defaults are valid."""
        try:
            Params(specs)
        except (KeyError, ValueError):
            return False
        return True

    def read(self, sent: Any) -> dict[str, Any] | None:
        """The params that the model is called with; None if those that were sent are undecided."""
        if sent is None or not self._params:
            return self._defaults.copy()
        if type(sent) is not dict:
            return None
        try:
            params = {name: self._params[name].read(value) for name, value in sent.items() if name in self._params}
        except ValueError:
            return None
        for name, default in self._defaults.items():  # behind what was sent
            params.setdefault(name, default)
        return params


class _Param:
    def __init__(self, spec: dict[str, Any]) -> None:
        self._types, self._convert = _CONVERSIONS[spec["type"]]
        self.read: Callable[[Any], Any] = self._scalar
        """What MLflow makes of a value; ValueError where that is undecided."""
        if spec.get("shape") == [-1]:
            self.read = self._list
        elif spec.get("shape") is not None:
            raise ValueError("It is of another shape.")

    def _list(self, value: Any) -> list[Any]:
        if type(value) is Numbers:
            return self._numbers(value)
        if type(value) is not list or not self._types.issuperset(map(type, value)):
            raise ValueError("It is no list, or not plainly of the type.")
        if str not in self._types and not all(-EXACT < each < EXACT for each in value):
            raise ValueError("They are not plainly of the type.")
        return list(map(self._convert, value))

    def _numbers(self, numbers: Numbers) -> list[Any]:
        are_of_type = not numbers.shape and numbers.labels is None and self._types >= numbers.kinds[0]
        if not are_of_type or not all((np.abs(block) < EXACT).all() for block in numbers.blocks):
            raise ValueError("They are not plainly of the type.")
        return [self._convert(value) for block in numbers.blocks for value in block[:, 0].tolist()]

    def _scalar(self, value: Any) -> Any:
        if type(value) not in self._types or (type(value) is not str and not -EXACT < value < EXACT):
            raise ValueError("It is not plainly of the type.")
        return self._convert(value)
