"""JSON without a key that says what it is: records, columns, or lists."""

from __future__ import annotations

from typing import Any

from signet_contract.bulk.chunked_lists import ChunkedList, MustReadWhole
from signet_contract.bulk.numbers import Numbers
from signet_contract.bulk.tables import Table
from signet_contract.codecs.reader import Reader
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.errors import MalformedPayload
from signet_contract.json_text import SERVED


def decode(document: Any, _: Reader) -> DecodedRequest:
    """The request of a JSON document.

    Raises:
        MalformedPayload: it is neither an object nor a list.
        MustReadWhole: it is a `ChunkedList` of labels and values.
    """
    if isinstance(document, dict) or (isinstance(document, Numbers) and document.labels is not None):
        return DecodedRequest(Format.COLUMNS, document)
    if isinstance(document, Table) or (
        isinstance(document, list) and document and all(isinstance(item, dict) for item in document)
    ):
        return DecodedRequest(Format.RECORDS, document)
    if isinstance(document, ChunkedList):  # a guess by the first item; enforcement looks at the others
        if document.is_labelled:
            raise MustReadWhole
        return DecodedRequest(Format.RECORDS if isinstance(document.first, dict) else Format.INPUTS, document)
    if isinstance(document, (list, Numbers)):
        return DecodedRequest(Format.INPUTS, document)
    raise MalformedPayload(
        f"The body is a JSON {_kind(document)}; expected {SERVED}.", expected=SERVED, got=f"a JSON {_kind(document)}"
    )


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "boolean", int: "number", float: "number", str: "string", list: "list", dict: "object"}
    return kinds[type(value)]
