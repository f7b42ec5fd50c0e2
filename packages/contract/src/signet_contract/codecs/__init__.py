"""The formats in which requests are written down, each a `Codec`; formats that are read alike share a module.

A new format is a codec in a module here, a place in `CODECS`, and what CONTRIBUTING.md lists besides.
"""

from __future__ import annotations

from signet_contract.codecs import bare, csv, mlflow, seed
from signet_contract.codecs.codec import Codec, Reader
from signet_contract.decoded_request import DecodedRequest

CODECS: list[Codec] = [*mlflow.CODECS, seed.CODEC, *bare.CODECS, csv.CODEC]
"""In the order in which a JSON document is tried; what none before takes, the bare ones take or reject."""

_DECODERS = list(dict.fromkeys(codec.decode for codec in CODECS if codec is not csv.CODEC))


def of_json(text: bytes, reader: Reader) -> DecodedRequest:
    """The request of a JSON text.

    Raises:
        MalformedPayload: it is not JSON, or in none of the formats.
        MustReadWhole: it has `ChunkedList`s, and who looks at it must have lists.
    """
    document = reader.read(text)
    for decode in _DECODERS:
        if (decoded := decode(document, reader)) is not None:
            return decoded
    raise AssertionError("The bare formats take or reject every document.")


def table() -> str:
    """The formats as Markdown, for README."""
    rows = [("format", "body", "its answer"), ("---", "---", "---")]
    rows += [(codec.name, codec.body, codec.answer) for codec in CODECS]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
