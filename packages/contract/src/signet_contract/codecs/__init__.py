"""The formats in which requests are written down. A codec is a module here: its `decode` reads formats that are alike.

A new format is a codec, a place in `DECODERS`, and what CONTRIBUTING.md lists besides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from signet_contract.codecs import bare, mlflow, seed
from signet_contract.codecs.reader import Reader
from signet_contract.decoded_request import DecodedRequest

DECODERS: list[Callable[[Any, Reader], DecodedRequest | None]] = [mlflow.decode, seed.decode, bare.decode]
"""Each returns None for a JSON document that is in none of its formats, and raises `MalformedPayload` for one that is,
but cannot be read. They are tried in this order; what none before takes, `bare` takes or rejects."""


def of_json(text: bytes, reader: Reader) -> DecodedRequest:
    """The request of a JSON text.

    Raises:
        MalformedPayload: it is not JSON, or in none of the formats.
        MustReadWhole: the reader cannot read it in chunks, or has read an object as a `ChunkedList`.
    """
    document = reader.read(text)
    for decode in DECODERS:
        if (decoded := decode(document, reader)) is not None:
            return decoded
    raise AssertionError("The bare formats take or reject every document.")
