"""A request's body: as it came, and how it is decoded.

`codecs` tells which formats there are, and how their answers look. Neither TorchServe nor torch nor MLflow is imported
here.
"""

from __future__ import annotations

import contextlib
import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from signet_contract import codecs, json_text
from signet_contract.bulk import chunked_json, large_json, tables
from signet_contract.bulk.chunked_lists import MIN_BYTES, MustReadWhole
from signet_contract.bulk.tables import Table
from signet_contract.codecs import csv, mlflow
from signet_contract.codecs.reader import Reader
from signet_contract.decoded_request import UNREAD, DecodedRequest, Format
from signet_contract.errors import MalformedPayload, NestedTooDeeply


@dataclass(slots=True)
class RawBody:
    """A body, or a form's field `data`, as it came."""

    text: bytes
    is_csv: bool = False

    def decode(self) -> DecodedRequest:
        """The decoded request, by the fastest way that fits the body.

        Raises:
            MalformedPayload: the text is empty, not UTF-8, not JSON, or JSON in none of the served formats.
        """
        try:
            decoded = csv.decode(_csv(self.text)) if self.is_csv else codecs.of_json(self.text, _FAST)
        except _LeftUnread:
            return self.unread()
        decoded.source = self
        return decoded

    def unread(self) -> DecodedRequest:
        """A request whose body has not been read: only its source is known, and its format is not."""
        return DecodedRequest(Format.INPUTS, UNREAD, source=self)

    def exact(self) -> DecodedRequest:
        """The decoded request with every value as a Python object, as it was sent.

        Raises:
            MalformedPayload: as `decode`.
        """
        decoded = csv.decode(json_text.of_utf8(self.text)) if self.is_csv else codecs.of_json(self.text, _EXACT)
        decoded.source, decoded.is_exact = self, True
        return decoded

    def chunked(
        self, least: int = MIN_BYTES, most_members: float = math.inf, most_items: float = math.inf
    ) -> DecodedRequest:
        """The decoded request, exact, but with `ChunkedList`s where it has lists of more than `least` bytes.

        Raises:
            NestedTooDeeply: the body is nested more deeply than a body may be.
            TooWide: an object of columns has more than `most_members`, or the first row more than `most_items`.
            MustReadWhole: the body cannot be read in chunks, only as a whole; it may be malformed.
        """
        try:
            decoded = codecs.of_json(
                self.text, Reader(partial(_chunked_json, least, most_members, most_items), _exact_json)
            )
        except NestedTooDeeply:
            raise
        except MalformedPayload as error:
            raise MustReadWhole from error
        decoded.source = self
        return decoded


def decode(body: bytes, content_type: str = "") -> DecodedRequest:
    """The decoded request of a body that is not a form.

    The media type matters for `text/csv` only: JSON is recognised by itself.

    Raises:
        MalformedPayload: the body is empty, not UTF-8, not JSON, or JSON in none of the served formats.
    """
    return RawBody(body, is_csv=csv.is_said_by(content_type)).decode()


def decode_form(fields: Mapping[str, bytes]) -> DecodedRequest:
    """The decoded request of a form: its field `data` holds JSON, as the seed's predict script posts it.

    Raises:
        MalformedPayload: no field is called `data`, or what it holds is not JSON.
    """
    if "data" not in fields:
        names = reprlib.repr(list(fields))  # cut short: a name may be as long as a body
        has = f"it has {names}" if fields else "it has no field with a value"
        raise MalformedPayload(
            f"The form has no field 'data': {has}. A body that is no form needs its header: "
            "'Content-Type: application/json' for JSON, 'Content-Type: text/csv' for CSV.",
            expected="a form field 'data'",
            got=names,
        )
    return RawBody(fields["data"]).decode()


def _csv(body: bytes) -> str | Table:
    """The table of a CSV text, or the text itself where it is not plainly a table."""
    with contextlib.suppress(ValueError):
        return tables.of_csv(body)
    return json_text.of_utf8(body)


class _LeftUnread(Exception):
    """A very large body is left to enforcement, which would read it anyway to decide on it."""


def _json(body: bytes) -> Any:
    """Parsed JSON; a large body may be read into arrays (`large_json`).

    Raises:
        _LeftUnread: the body is very large, and cannot be read into arrays.
    """
    if len(body) > _LARGE_BYTES:
        with contextlib.suppress(ValueError):
            return large_json.loads(body)
        if len(body) > _VERY_LARGE_BYTES and not _OF_TEXTS.match(body):
            raise _LeftUnread
    return json_text.plain(body)


def _chunked_json(least: int, most_members: float, most_items: float, body: bytes) -> Any:
    """Parsed JSON with `ChunkedList`s, exact."""
    if _OF_TEXTS.match(body):
        return json_text.exact(body)
    json_text.require_shallow(body)
    return chunked_json.loads(body, _LOOKED_INTO, least, most_members, most_items)


def _exact_json(body: bytes) -> Any:
    """Parsed JSON, exact, and nested no deeper than a body may be."""
    json_text.require_shallow(body)
    return json_text.exact(body)


_LARGE_BYTES = 1 << 11
_VERY_LARGE_BYTES = 1 << 16
# Keys whose objects may hold long lists, and whether the limits of `chunked_json.loads` hold in them.
_LOOKED_INTO = dict.fromkeys(mlflow.FORMATS, True) | {"params": False}
# How the seed's JSON in JSON begins; the outer JSON holds only texts.
_OF_TEXTS = re.compile(rb'\s*\{\s*"data"\s*:\s*\[?\s*"')

_FAST = Reader(read=_json, read_whole=json_text.plain)
_EXACT = Reader(read=_exact_json, read_whole=_exact_json)
