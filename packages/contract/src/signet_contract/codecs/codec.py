"""What a codec is: one format in which requests are written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from signet_contract.decoded_request import DecodedRequest

Loads = Callable[[bytes], Any]
"""Reads a JSON text, also one in another."""


@dataclass(frozen=True, slots=True)
class Codec:
    """A format: its name, how a body and its answer look, and how it is read."""

    name: str
    body: str
    answer: str
    decode: Callable[[Any, Loads], DecodedRequest | None]
    """The request of a JSON document, or of CSV's text or table; None if it is in another format.

    Raises:
        MalformedPayload: it is in this format, and cannot be read in it.
    """
