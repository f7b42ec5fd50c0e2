"""The params of a signature, the fast way: what MLflow would make of those that nobody could object to.

As MLflow's `_enforce_params_schema`: params that the signature does not have are dropped, those that were not sent
get their defaults, behind the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Python types of surely valid values, and what MLflow makes of them.
_TYPES: dict[str, tuple[set[type], Callable[[Any], Any]]] = {
    "double": ({float, int}, float),
    "float": ({float, int}, float),
    "long": ({int}, int),
    "integer": ({int}, int),
    "boolean": ({bool}, bool),
    "string": ({str}, str),
}
_EXACT = 2**53  # an integer beyond may have become a float


class Params:
    """Params of an MLflow schema, each a number, a boolean, a text or a list of one of these.

    Args:
        specs: the params as the MLmodel file lists them.
    """

    def __init__(self, specs: list[dict[str, Any]]) -> None:
        self._specs = {str(spec["name"]): spec for spec in specs}
        self._defaults = {name: self._value(spec, spec["default"]) for name, spec in self._specs.items()}

    @staticmethod
    def can_read(specs: list[dict[str, Any]]) -> bool:
        """Whether their types are known to this class, and their defaults valid."""
        try:
            Params(specs)
        except (KeyError, TypeError, ValueError):
            return False
        return True

    def read(self, sent: Any) -> dict[str, Any] | None:
        """The params that the model is called with; None if those that were sent are not surely valid."""
        if not sent:
            return dict(self._defaults) if sent is None or sent == {} else None
        if type(sent) is not dict:
            return None
        try:
            known = {name: self._value(self._specs[name], sent[name]) for name in sent if name in self._specs}
        except ValueError:
            return None
        return known | {name: default for name, default in self._defaults.items() if name not in known}

    @staticmethod
    def _value(spec: dict[str, Any], value: Any) -> Any:
        types, convert = _TYPES[spec["type"]]
        shape = spec.get("shape")
        values = value if shape else [value]
        if type(values) is not list or shape not in (None, [-1]) or not types.issuperset(map(type, values)):
            raise ValueError("It is of another type.")
        if str not in types and any(abs(each) >= _EXACT for each in values):
            raise ValueError("It is too great to be sure of its type.")
        converted = list(map(convert, values))
        return converted if shape else converted[0]
