"""A large JSON text with a `ChunkedList` in the place of each long list: only what is short is parsed at once."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import msgspec
import numpy as np

from signet_contract import json_text
from signet_contract.bulk.chunked_lists import MIN_BYTES, ChunkedList, MustReadWhole
from signet_contract.errors import MalformedPayload

_TRIES = 8
_FEW_BYTES = 1 << 10
_WIDE_BYTES = 1 << 18  # of a long object or first item, in which too many members are looked for
_LABELLED = re.compile(rb'\{\s*"0"\s*:')

_FOR_NAN, _FOR_INFINITY = b"0.0", b"10000000"
_STAND_INS = _FOR_NAN.decode(), _FOR_INFINITY.decode()

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_VALUE = msgspec.json.Decoder(msgspec.Raw)


class TooWide(Exception):
    """An object, or an item of a long list, has more members than any may have: at least `width`."""

    def __init__(self, width: int) -> None:
        self.width = width


def loads(
    body: bytes,
    nested: Mapping[str, bool],
    least: int = MIN_BYTES,
    most_members: float = math.inf,
    most_items: float = math.inf,
) -> Any:
    """The document, exactly as JSON typed it, with `ChunkedList`s for long lists at the top and in its objects.

    Args:
        body: JSON.
        nested: keys whose objects are looked into, too, each with whether the limits hold there: else it is read whole.
        least: bytes from which on a list is a long one.
        most_members: how many members an object that is looked into may have.
        most_items: how many an item of a long list may have.

    Raises:
        MustReadWhole: it cannot be read in chunks; it may be no JSON.
        TooWide: an object or an item has more members than it may.
        MalformedPayload: a part of it is no JSON.
    """
    try:
        try:
            return _Reader(body, body, least, most_members, most_items, []).value(_whole(body), nested)
        except msgspec.DecodeError:
            # NaN and Infinity are no JSON. In `text` numbers of the same length stand for them, so that positions stay;
            # the values are still read from `body`.
            text = body.replace(b"NaN", _FOR_NAN).replace(b"Infinity", _FOR_INFINITY)
            return _Reader(body, text, least, most_members, most_items, []).value(_whole(text), nested)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MustReadWhole from error


def _whole(text: bytes) -> msgspec.Raw:
    """The document as raw JSON. An object is not checked here, but when its members are read."""
    return msgspec.Raw(text) if text.startswith(b"{") else _VALUE.decode(text)


@dataclass(frozen=True, slots=True)
class _Reader:
    body: bytes
    text: bytes
    """The body, or JSON that looks like it."""
    least: int
    most_members: float
    most_items: float
    labels: list[str]
    """"0", "1" and so on, as far as a labelled list has needed them; all lists share them."""

    def value(self, raw: msgspec.Raw, nested: Mapping[str, bool] | None) -> Any:
        """A part of the text, as the body has it; an object is not looked into if `nested` is None."""
        view = memoryview(raw)
        if len(view) <= self.least and self.text is self.body:
            return json_text.exact(bytes(view))
        start = _address(raw) - _address(self.text)
        end = start + len(view)
        kind = self.body[start : start + 1]
        is_labelled = nested is None and _LABELLED.match(self.body, start) is not None
        is_looked_into = kind == b"[" or is_labelled or (kind == b"{" and nested is not None)
        if end - start <= self.least or not is_looked_into:
            return json_text.exact(self.body[start:end])
        if kind == b"[" or is_labelled:
            _require_narrow(self.body[start + 1 : min(end, start + _WIDE_BYTES)].lstrip(), self.most_items)
            chunked = ChunkedList(self.body, start + 1, end - 1, self.least, self.labels)
            return chunked if chunked.only_chunk is None else chunked.only_chunk
        beginning = self.body[start : min(end, start + _WIDE_BYTES)]
        if beginning.count(b":") > self.most_members:
            _require_narrow(beginning, self.most_members)
        members = _MEMBERS.decode(raw)
        if len(members) > self.most_members:
            raise TooWide(len(members))
        if self.text is not self.body and any(word in name for name in members for word in _STAND_INS):
            raise MustReadWhole  # the name may be another
        return {name: self._member(name, item, nested or {}) for name, item in members.items()}

    def _member(self, name: str, raw: msgspec.Raw, nested: Mapping[str, bool]) -> Any:
        try:
            return self.value(raw, {} if name in nested else None)
        except TooWide:
            if nested.get(name, True):
                raise
            return replace(self, least=len(self.body)).value(raw, None)


def _require_narrow(beginning: bytes, most: float) -> None:
    """Raises `TooWide` if a list or object that does not end in `beginning` has more than `most` members there."""
    closing = {b"[": b"]", b"{": b"}"}.get(beginning[:1])
    if closing is None or closing in beginning:
        return
    # If it is JSON when it is cut at a comma and closed, it has at least as many members.
    for comma in islice(re.finditer(b",", beginning[-_FEW_BYTES:]), _TRIES):
        with suppress(MalformedPayload):
            some = json_text.exact(beginning[: comma.start() - _FEW_BYTES] + closing)
            if len(some) > most:
                raise TooWide(len(some))
            return


def _address(buffer: Any) -> int:
    return int(np.frombuffer(buffer, np.uint8).__array_interface__["data"][0])
