"""Rejections that were given before: a client that is wrong is mostly wrong in the same way again.

For numeric columns MLflow's message depends on the names, on the texts and on the type of every other value. It depends
on a number only if that is near its type's limit. So a rejection is remembered by a key of names, texts and types
(`cache_key`), and MLflow is asked once.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.errors import Rejected

MAX_REMEMBERED = 512
MAX_BODY_BYTES = 2048

_NARROWEST_LIMIT = 2**31  # where `integer` ends, the narrowest type


class _Particular(Exception):
    """The rejection depends on a value itself."""


class RejectionCache:
    """The rejections by one signature whose columns are all numbers or booleans."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, Rejected] = {}

    def recall(self, key: Hashable) -> Rejected | None:
        """The rejection of an earlier request with this key."""
        return self._by_key.get(key) if key else None

    def remember(self, key: Hashable, rejection: Rejected) -> None:
        """Keep the rejection of a request with this key."""
        if key:
            if len(self._by_key) >= MAX_REMEMBERED:
                self._by_key.clear()
            self._by_key[key] = rejection


def cache_key(decoded: DecodedRequest) -> Hashable:
    """All that a rejection can depend on: format, whether it is under `data`, names, texts, types of other values.

    None if a rejection could depend on more, as on a number near its type's limit.
    """
    source, content = decoded.source, decoded.content
    if source is None or len(source.text) > MAX_BODY_BYTES or source.is_csv or decoded.params is not None:
        return None
    if decoded.format is Format.SPLIT and type(content) is dict and "columns" in content:
        columns = content["columns"]
        # Names that are no texts would be in the key by their types alone.
        if type(columns) is not list or set(map(type, columns)) != {str}:
            return None
    try:
        return (decoded.format, decoded.is_inside, _key(content))
    except (_Particular, RecursionError):
        return None


def _key(value: Any) -> Hashable:
    type_ = type(value)
    if type_ is dict:
        return (dict, *value, *map(_key, value.values()))
    if type_ is list:
        return (list, *map(_key, value))
    if type_ is str:  # a column of texts and numbers may be converted, if each text is a number or empty
        return (type_, value)
    if type_ not in (int, float):
        return (type_,)
    if not -_NARROWEST_LIMIT < value < _NARROWEST_LIMIT:
        raise _Particular
    # MLflow takes zeros and ones for numbers of any type, and its message has a hint if numbers beside nulls are whole.
    return (type_, value in (0, 1), value == int(value))
