"""Many numbers in a text, read into arrays without making an object of each.

All items of a list look alike if, without digits, signs, exponents and blanks, the text repeats itself:
`[5.1,-3],[1.0e5,0]` becomes `[.,],[.,]`. Then each item has the types of the first: here a float and an integer. That
each is a number at all is left to simdjson, which reads them into an array; by way of orjson's objects that takes more
than twice as long (bench/parsers.py).

It is done chunk by chunk, each of a size that a processor's cache holds: a row among a million costs what it costs
among a thousand.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import simdjson

from signet_contract.bulk import non_finite
from signet_contract.model_input import EXACT, Array

RAISED = (LookupError, OverflowError, RuntimeError, TypeError)
"""What parsers raise at huge numbers, odd values and deep nesting, beside ValueError."""

_CHUNK_BYTES = 1 << 16
_DIGITS = b"0123456789"
_IN_NUMBERS_AND_BETWEEN = _DIGITS + b"+-eE \t\r\n"
_COLONS_TO_COMMAS = bytes.maketrans(b":", b",")
_MIXED: frozenset[type] = frozenset({int, float})

# A member of an object, and where the next begins.
_LABELLED = re.compile(
    rb'"[0-9]+"(: ?)(?:-?[0-9]+(\.?)[0-9]*((?:[eE][-+]?)?)[0-9]*|NaN|-?Infinity)(, ?)"',
)


@dataclass(slots=True)
class Numbers:
    """A list of numbers and booleans, or of equally long lists of them, at any depth."""

    blocks: list[Array]
    """float64 [some items, numbers of an item] each, one after another."""
    shape: tuple[int, ...]
    """The shape of an item; `()` if it is one number."""
    kinds: Sequence[frozenset[type]]
    """For each number of an item, the Python types that it has among the items. {float, int} means: at least one float,
    and perhaps no int."""
    labels: Array | None = None
    """Where it was a JSON object, its names: ascending whole numbers, none of which can be written in another way."""

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    @property
    def most_values(self) -> int:
        """How many values its items hold."""
        return len(self) * len(self.kinds)


def of_list(parser: simdjson.Parser, body: bytes, start: int, end: int, item_depth: int) -> Numbers:
    """The list whose items stand from `start` to `end`, each in `item_depth` brackets; a plain number is in none.

    Raises:
        ValueError: they are not sure to look alike, or are no numbers.
    """
    if body.find(b"l", start, end) >= 0 and body.find(b"null", start, end) >= 0:
        raise Unlike  # found before numbers are made of what precedes a null
    closing = b"]" * item_depth
    first = body[start : body.index(closing or b",", start, end) + item_depth]
    second_end = body.find(closing, start + len(first), end) if item_depth else -1
    commas = first.count(b",") + 1  # with the one between the two items
    if second_end >= 0 and body.count(b",", start + len(first), second_end) != commas:
        raise Unlike  # found before the second item is parsed, which may have millions of values
    return of_texts(parser, first, chunks(body, start, end, closing + b","), item_depth)


def of_texts(parser: simdjson.Parser, first: bytes, texts: Iterable[bytes], item_depth: int) -> Numbers:
    """The list whose items, each in `item_depth` brackets, stand in some texts; the first item is given beside them.

    Raises:
        ValueError: as `of_list`.
    """
    item = non_finite.loads(first)
    shape = np.shape(item) if item_depth else ()
    leaves = np.array(item, dtype=object).ravel().tolist() if shape else [item]
    types = {type_: frozenset({type_}) for type_ in set(map(type, leaves))}
    if len(shape) != item_depth or not leaves or not {int, float, bool}.issuperset(types):
        raise ValueError("It holds something else than numbers.")
    kinds = [types[type(leaf)] for leaf in leaves] if len(types) > 1 else list(types.values()) * len(leaves)
    blocks, are_mixed = _blocks(parser, texts, first, types.keys(), len(kinds))
    return Numbers(blocks, shape, mixed_kinds(kinds, blocks) if are_mixed else kinds)


def of_labelled(parser: simdjson.Parser, body: bytes, start: int, end: int) -> Numbers:
    """The object whose members, numbers that are named by whole numbers, stand from `start` to `end`.

    Raises:
        ValueError: they are not sure to look alike, or are not in the order of their names.
    """
    found = _LABELLED.match(body, start, end)
    if not found:
        raise ValueError("It has other names or other values.")
    colon, point, exponent, comma = found.groups()
    point, exponent = (b".", b"") if point is None else (point, exponent)  # after a NaN, finite floats may follow
    number = point + exponent
    look = b'""' + colon + number + comma
    blocks = []
    for chunk in chunks(body, start, end, comma):
        # Names are made of digits only, and values of digits, of a point and an exponent if the first has them, and of
        # a sign; or they are words for floats.
        looks = chunk.translate(None, _DIGITS).replace(colon + b"-", colon) + comma
        if not _count(non_finite.without_words(looks, number) if number else looks, look):
            raise Unlike
        blocks.append(_parsed(parser, chunk.translate(_COLONS_TO_COMMAS, b'"'), 2))
    labels = np.concatenate([block[:, 0] for block in blocks])
    if labels[-1] >= EXACT or not (labels[1:] > labels[:-1]).all():
        raise ValueError("Its names may be the same.")
    return Numbers([block[:, 1:] for block in blocks], (), [frozenset({float if point or exponent else int})], labels)


def of_values(values: Any) -> Numbers:
    """Parsed JSON as `Numbers`: a list of numbers, or a dict of them by whole numbers.

    Raises:
        TypeError: it is something else.
        ValueError: its names are no whole numbers, or not written in the usual way.
    """
    names = list(values) if type(values) is dict else None
    items = list(values.values()) if type(values) is dict else values
    kinds = frozenset(map(type, items))
    if type(items) is not list or not {int, float, bool} >= kinds:
        raise TypeError("It is no list of numbers.")
    labels = None if names is None else np.array(list(map(int, names)), np.float64)
    if names is not None and list(map(str, map(int, names))) != names:
        raise ValueError("Its names may be written in another way.")
    return Numbers([np.fromiter(items, np.float64, len(items)).reshape(-1, 1)], (), [kinds], labels)


def mixed_kinds(first: Sequence[frozenset[type]], blocks: Sequence[Array]) -> list[frozenset[type]]:
    """Kinds of columns whose numbers are integers or floats, given what each begins with.

    Raises:
        ValueError: a column that begins with an integer may have no float.
    """
    for index, kinds in enumerate(first):
        columns = [block[:, index] for block in blocks] if int in kinds else []
        if columns and not any((column != np.floor(column)).any() for column in columns):
            raise ValueError("Its whole numbers may be integers or floats.")
    return [kinds if bool in kinds else _MIXED for kinds in first]


def chunks(body: bytes, start: int, end: int, separator: bytes) -> Iterator[bytes]:
    """The items from `start` to `end` in chunks, each cut off at a `separator` such as `},`, whose comma is dropped."""
    comma = separator.lstrip(b"]}")
    while start < end:
        cut = body.find(separator, start + _CHUNK_BYTES, end)
        stop = end if cut < 0 else cut + len(separator) - len(comma)
        yield body[start:stop]
        start = stop + len(comma)


class Unlike(ValueError):
    """Some items do not look like the first."""

    def __init__(self) -> None:
        super().__init__("Some items do not look like the first.")


def _blocks(
    parser: simdjson.Parser, texts: Iterable[bytes], first: bytes, types: Collection[type], width: int
) -> tuple[list[Array], bool]:
    """All numbers, and whether some item may have a float where the first has an integer, or the other way round."""
    has_bools = bool in types
    look = _look(first, has_bools=has_bools) + b","
    without_points = look.translate(None, b".")
    are_mixed = False
    blocks = []
    for text in texts:
        looks = _look(text, has_bools=has_bools) + b","
        if has_bools:
            text = text.replace(b"true", b" 1 ").replace(b"false", b" 0 ")  # noqa: PLW2901 -- the same text, as numbers
        may_be_floats = int in types and (b"e" in text or b"E" in text)
        count = 0 if are_mixed or may_be_floats else _count(looks, look)
        if not count and not has_bools:
            are_mixed = True
            count = _count(looks.translate(None, b"."), without_points)
        if not count:
            raise Unlike
        blocks.append(_parsed(parser, text, width))
        if len(blocks[-1]) != count:
            raise ValueError("Some items are empty.")
    return blocks, are_mixed


def _look(text: bytes, *, has_bools: bool) -> bytes:
    """The items without the characters of numbers; as an e is one of these, `true` and `false` are what is left."""
    look = non_finite.without_words(text.translate(None, _IN_NUMBERS_AND_BETWEEN), b".")
    return look.replace(b"tru", b"t").replace(b"fals", b"t") if has_bools else look


def _count(looks: bytes, look: bytes) -> int:
    """How often `looks` repeats `look`; 0 if it has anything else."""
    count = len(looks) // len(look)
    return count if looks == look * count else 0


def _parsed(parser: simdjson.Parser, items: bytes, width: int) -> Array:
    """All numbers of a JSON list's items, as float64 [items, width]."""

    def parse(text: bytes) -> Array:
        found: Any = parser.parse(b"[" + text + b"]")
        return np.frombuffer(found.as_buffer(of_type="d"))

    try:
        return non_finite.read(parse, items).reshape(-1, width)
    except RuntimeError as error:  # an integer beyond 64 bits, or nesting
        raise ValueError(str(error)) from error
