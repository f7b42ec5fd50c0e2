"""A long list in a JSON text, of which no more is parsed at once than a processor's cache holds.

Millions of objects cost more to have than to make. So the list is cut into chunks, which are parsed one after another.
Where to cut is guessed: at a comma between an end and a beginning like the first item's. The list is cut there if the
text before the comma, with a closing bracket, is valid JSON; inside a string or an item it would not be.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import suppress
from itertools import islice, product
from typing import Any

import orjson
import simdjson

from signet_contract import json_text
from signet_contract.errors import MalformedPayload

MIN_BYTES = 1 << 16
"""A shorter text is parsed whole; a chunk of a longer one has about as many bytes."""
LEAST_ITEMS = 100  # of a chunk, as each chunk has a cost of its own
_TRIES = 8

_OPENING, _CLOSING = re.compile(rb'[\[{\s]*"?'), re.compile(rb'"?[\]}\s]*\Z')
_BLANK, _LABEL = re.compile(r"\s*"), re.compile(r'\s*"0"\s*:\s*')
_BETWEEN_LABELLED = re.compile(rb'(,)\s*"[0-9]+"\s*:')
# Two patterns, as one byte is found faster than one of two.
_BETWEEN_NESTED = re.compile(rb"\}\s*(,)\s*[\[{]"), re.compile(rb"\]\s*(,)\s*[\[{]")
_BETWEEN_PLAIN = (re.compile(rb"(,)"),)


class MustReadWhole(Exception):
    """The text cannot be read chunk by chunk: it must be parsed whole."""


class NothingWrong(MustReadWhole):
    """Nothing is wrong with what was read in compact form: only the text as a whole can be admitted."""


class ChunkedList:
    """A list whose items stand from `start` to `end` in a body that is JSON; chunks have at least `least` bytes.

    It may be an object, too, whose names are "0", "1" and so on, as pandas labels rows.
    """

    def __init__(self, body: bytes, start: int, end: int, least: int, labels: list[str]) -> None:
        self._body, self._start, self._end, self._labels = body, start, end, labels
        self._rows = [0]
        """The number of the first item of each chunk that has been parsed; last, how many items have been counted."""
        self._places = [start]
        """Where these chunks begin, and last the next one: behind the end once all items have been counted."""
        self._last: tuple[int, int, list[Any]] = -1, -1, []
        """Where the chunk that was parsed last starts and stops, and its items; often it is the only chunk."""
        self.is_labelled = body[start - 1 : start] == b"{"
        self._parsers = [_orjson, _exact]
        begins_nested = body[start : start + MIN_BYTES].lstrip()[:1] in (b"[", b"{")
        between_any = _BETWEEN_NESTED if begins_nested else _BETWEEN_PLAIN
        self._between, self._bytes = [_BETWEEN_LABELLED] if self.is_labelled else [*between_any], least
        self.first_text = b""
        """The first item's text; empty if it is long."""
        if found := self._short_first():
            self.first, self.first_text = found
            self._bytes = max(least, LEAST_ITEMS * len(self.first_text))
            if not self.is_labelled:
                opening, closing = _OPENING.findall(self.first_text)[0], _CLOSING.findall(self.first_text)[0]
                alike = re.compile(_spaced(closing) + rb"\s*(,)\s*" + _spaced(opening))
                self._between = [alike, *between_any]
        else:
            _, (self.first, *_) = self._chunk(start, 0)

    def _short_first(self) -> tuple[Any, bytes] | None:
        """The first item and its text; None if it is long."""
        beginning = self._body[self._start : min(self._end, self._start + MIN_BYTES)].decode("utf-8", "ignore")
        label = _LABEL.match(beginning) if self.is_labelled else _BLANK.match(beginning)
        if not label:
            raise MustReadWhole
        try:
            first, end = json.JSONDecoder().raw_decode(beginning, label.end())
        except (ValueError, RecursionError):
            return None
        return first, beginning[label.end() : end].encode()

    def __len__(self) -> int:
        """How many items there are."""
        for _ in self.chunks(None if self.is_labelled else _counted) if self._places[-1] <= self._end else ():
            pass
        return self._rows[-1]

    @property
    def only_chunk(self) -> list[Any] | None:
        """All items, if they have been read as one chunk; None for labelled ones, whose labels it would lack."""
        start, stop, items = self._last
        return items if start == self._start and stop == self._end and not self.is_labelled else None

    @property
    def most_values(self) -> int:
        """An upper bound of how many values its items hold, as each takes a byte and a comma."""
        return (self._end - self._start + 1) // 2

    def chunks(self, parse: Callable[[bytes, int], Sized | None] | None = None) -> Iterator[tuple[int, Any]]:
        """The items in chunks, each with the number of its first item.

        Args:
            parse: is given the text of a chunk first, and the number of the chunk's first item; a list is made of the
                chunk only if it returns None.

        Raises:
            MustReadWhole: where to cut cannot be guessed.
        """
        row, place = 0, self._start
        while place <= self._end:
            stop, items = (parse and self._parsed_by(parse, place, row)) or self._chunk(place, row)
            first, row, place = row, row + len(items), stop + 1
            if place > self._places[-1]:
                self._rows.append(row)
                self._places.append(place)
            yield first, items

    def take(self, rows: Sequence[int]) -> list[Any]:
        """Some items, by their ascending numbers; only their chunks are parsed, if the items have been counted."""
        found: list[Any] = []
        number, items = -1, list[Any]()
        if rows and rows[-1] >= self._rows[-1]:
            len(self)
        for row in rows:
            chunk = bisect_right(self._rows, row) - 1
            if chunk != number:
                number, (_, items) = chunk, self._chunk(self._places[chunk], self._rows[chunk])
            found.append(items[row - self._rows[chunk]])
        return found

    def _parsed_by(self, parse: Callable[[bytes, int], Sized | None], start: int, row: int) -> tuple[int, Any] | None:
        """Where the chunk that starts here, with item `row`, probably stops, and what `parse` makes of it; or None."""
        for stop in self._stops(start + self._bytes, start + 3 * self._bytes)[:1]:
            if items := parse(self._body[start:stop], row):
                return stop, items
        return None

    def _chunk(self, start: int, row: int) -> tuple[int, list[Any]]:
        """Where the chunk that starts here, with item `row`, stops, and its items."""
        if start != self._last[0]:
            self._last = start, *self._parsed(start, row)
        return self._last[1:]

    def _parsed(self, start: int, row: int) -> tuple[int, list[Any]]:
        opening, closing = (b"{", b"}") if self.is_labelled else (b"[", b"]")
        body = memoryview(self._body)
        for most in (start + 3 * self._bytes, self._end):  # an item may be long
            stops = self._stops(start + self._bytes, most)
            for parsed, stop in product(self._parsers, stops):
                items = parsed(b"".join([opening, body[start:stop], closing]))
                if items:
                    if parsed is _exact:  # most probably the next chunk needs it, too
                        self._parsers = [_exact, _orjson]
                    return stop, self._values(items, row)
        raise MustReadWhole

    def _stops(self, least: int, most: int) -> list[int]:
        """Where a chunk may stop."""
        stops: list[int] = []
        if least < self._end:
            for between in self._between:
                stops += [found.start(1) for found in islice(between.finditer(self._body, least, most), _TRIES)]
        return [*stops, self._end] if most >= self._end else stops

    def _values(self, items: Any, row: int) -> list[Any]:
        if type(items) is list:
            return items
        end = row + len(items)
        self._labels += map(str, range(len(self._labels), end))
        if list(items) != self._labels[row:end]:
            raise MustReadWhole
        return list(items.values())


def _counted(items: bytes, row: int) -> Sized | None:  # noqa: ARG001 -- wherever they stand
    """As many things as there are items, of which none is made; None if simdjson can't read them."""
    with suppress(ValueError, RuntimeError):
        found: Any = simdjson.Parser().parse(b"[" + items + b"]")
        return range(len(found))
    return None


def _spaced(brackets: bytes) -> bytes:
    return rb"\s*".join(
        re.escape(brackets[place : place + 1]) for place in range(len(brackets)) if brackets[place : place + 1].strip()
    )


def _orjson(items: bytes) -> Any:
    """The items, or None if orjson can't read them as JSON typed them."""
    if json_text.has_many_digits(items):
        return None
    try:
        return orjson.loads(items)
    except orjson.JSONDecodeError:
        return None


def _exact(items: bytes) -> Any:
    try:
        return json_text.exact(items)
    except MalformedPayload:
        return None
