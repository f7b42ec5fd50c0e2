"""How a codec parses the JSON of a body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Reader(NamedTuple):
    """The JSON parsers, for the body and for JSON inside JSON strings."""

    read: Callable[[bytes], Any]
    """A large text may be read into compact form: `Numbers`, a `Table` or `ChunkedList`s stand for its lists."""
    read_whole: Callable[[bytes], Any]
    """Into dicts and lists only."""
