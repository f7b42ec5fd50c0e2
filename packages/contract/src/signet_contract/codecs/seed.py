"""The seed's format, `{"data": ["<JSON>", …]}`: texts of JSON in JSON, as the Iris example's own client sends them."""

from __future__ import annotations

from itertools import chain
from typing import Any

from signet_contract.bulk.chunked_lists import ChunkedList
from signet_contract.bulk.numbers import Numbers
from signet_contract.bulk.tables import Table
from signet_contract.codecs import bare
from signet_contract.codecs.reader import Reader
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.errors import MalformedPayload


def decode(document: Any, reader: Reader) -> DecodedRequest | None:
    """One JSON text, or several whose rows follow one another."""
    if type(document) is not dict or document.keys() != {"data"}:
        return None
    data = document["data"]
    texts = data if type(data) is list else [data]
    if set(map(type, texts)) != {str}:
        # `data` may be an ordinary column's name, or hold the rows unquoted.
        return DecodedRequest(Format.COLUMNS, {"data": data}) if _is_column(data) else _inside(data, reader)
    if len(texts) == 1:
        return _inside(reader.read(texts[0].encode("utf-8", "surrogatepass")), reader)
    all_decoded = [bare.decode(reader.read_whole(text.encode("utf-8", "surrogatepass")), reader) for text in texts]
    return DecodedRequest(Format.RECORDS, list(chain.from_iterable(map(_records, all_decoded))))


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


def _records(decoded: DecodedRequest) -> list[Any]:
    """Rows of one of the seed's several texts as records, so that they can be appended to one another."""
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
