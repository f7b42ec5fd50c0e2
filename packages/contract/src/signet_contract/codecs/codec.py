"""What a codec is: one format in which requests are written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from signet_contract.decoded_request import DecodedRequest


class Reader(NamedTuple):
    """The JSON parsers, for the body and for JSON inside JSON strings."""

    read: Callable[[bytes], Any]
    """A large text may be read into compact form: `Numbers`, a `Table` or `ChunkedList`s stand for its lists."""
    read_whole: Callable[[bytes], Any]
    """Into dicts and lists only."""


@dataclass(frozen=True, slots=True)
class Codec:
    """A format: its name, how a body and its answer look, and how it is read."""

    name: str
    body: str
    answer: str
    decode: Callable[[Any, Reader], DecodedRequest | None]
    """The request of a JSON document, or of CSV's text or table; None if it is in another format.

    Raises:
        MalformedPayload: it is in this format, and cannot be read in it.
    """
