"""The seed's format, `{"data": ["<JSON>", …]}`: texts of JSON in JSON, as the Iris example's own client sends them."""

from __future__ import annotations

import contextlib
from itertools import chain
from typing import Any

import msgspec

from signet_contract.bulk.chunked_lists import ChunkedList
from signet_contract.bulk.numbers import Numbers
from signet_contract.bulk.tables import Table
from signet_contract.codecs import bare
from signet_contract.codecs.reader import Reader
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.errors import MalformedPayload

_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


def decode(document: Any, reader: Reader) -> DecodedRequest | None:
    """One JSON text, or several whose rows follow one another."""
    if type(document) is not dict or document.keys() != {"data"}:
        return None
    data = document["data"]
    texts = data if type(data) is list else [data]
    if set(map(type, texts)) != {str}:
        # `data` may be an ordinary column's name, or hold the rows as JSON without quotes.
        return DecodedRequest(Format.COLUMNS, {"data": data}) if _is_column(data) else _inside(data, reader)
    if len(texts) == 1:
        return _inside(reader.read(texts[0].encode("utf-8", "surrogatepass")), reader)
    rows = (_records(document, reader) for document in _documents(texts, reader))
    return DecodedRequest(Format.RECORDS, list(chain.from_iterable(rows)))


def _documents(texts: list[str], reader: Reader) -> list[Any]:
    """The documents in the texts. If each is JSON, all are read as one list: that is faster where they are short."""
    reader.read_whole(texts[0].encode("utf-8", "surrogatepass"))  # raises before time is lost on the others
    bodies = [text.encode("utf-8", "surrogatepass") for text in texts]
    joined = b"[" + b",".join(bodies) + b"]"
    with contextlib.suppress(msgspec.DecodeError, MalformedPayload):
        if list(map(bytes, _ITEMS.decode(joined))) == bodies:
            found: list[Any] = reader.read_whole(joined)
            return found
    return list(map(reader.read_whole, bodies))


def _inside(document: Any, reader: Reader) -> DecodedRequest:
    decoded = bare.decode(document, reader)
    decoded.is_inside = True
    return decoded


def _is_column(data: Any) -> bool:
    if isinstance(data, Numbers):
        return data.labels is None and not data.shape
    if isinstance(data, ChunkedList):
        return not data.is_labelled and not isinstance(data.first, (dict, list))
    if isinstance(data, list) and data:
        return not isinstance(data[0], (dict, list))
    return not isinstance(data, (dict, Table))


def _records(document: Any, reader: Reader) -> list[Any]:
    """Rows of one of the seed's several texts as records, so that they can be appended to one another."""
    if type(document) is dict and document and {list, dict}.isdisjoint(map(type, document.values())):
        return [document]
    decoded = bare.decode(document, reader)
    if decoded.format is Format.RECORDS:
        return list(decoded.content)
    if decoded.format is not Format.COLUMNS:
        raise MalformedPayload(
            "Several texts under 'data' must each hold columns or records.",
            expected="columns or records",
            got="a JSON list",
        )
    columns = {name: _values(column) for name, column in decoded.content.items()}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise MalformedPayload(
            f"The columns under 'data' have different lengths: {lengths}.",
            expected="columns of one length",
            got=str(lengths),
        )
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _values(column: Any) -> list[Any]:
    if isinstance(column, dict):
        return list(column.values())
    return column if isinstance(column, list) else [column]
