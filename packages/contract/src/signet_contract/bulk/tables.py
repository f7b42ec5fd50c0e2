"""Named columns in a text, read into arrays: records, which repeat the names in each row, and CSV.

Neither may change what a row by row reader finds. msgspec makes a record's values without a dict of them, for
which orjson takes 1.5 to 1.8 times as long (bench/parsers.py). Of CSV only cells are read whose float32 is the same
for every reader.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain

import msgspec
import numpy as np
import simdjson

from signet_contract.bulk import non_finite, numbers
from signet_contract.bulk.numbers import Numbers
from signet_contract.model_input import Array

# pandas reads a float64 that may be another than the nearest, by less than this share of it.
_PANDAS_ERROR = 2e-15

_POINT, _COLON, _EXPONENT = b".:e"
_TO_LOWER = 0x20

# Of -0 readers of JSON make the whole number 0, and pandas makes -0.0.
_MINUS_ZERO = re.compile(rb"-0(?:[,\n]|\Z)")

# To make a record class of so many names takes milliseconds.
_MAX_NAMES = 1024


@dataclass(slots=True)
class Table:
    """Rows of equally named values."""

    names: list[str]
    rows: Numbers


def of_records(body: bytes, start: int, end: int) -> Table:
    """Records that stand from `start` to `end`, separated by commas; their names may come in any order.

    Raises:
        ValueError: the first holds something else than numbers.
        msgspec.MsgspecError: so does another, or it has other names than the first.
    """
    text = body[start : body.index(b"}", start, end) + 1]
    if text.count(b":") > 2 * _MAX_NAMES:
        raise ValueError("They hold too many names.")
    first = json.loads(text)
    names, types = tuple(first), tuple(map(type, first.values()))
    if not 0 < len(names) <= _MAX_NAMES or not {float, int, bool}.issuperset(types):
        raise ValueError("They hold something else than numbers, or too many.")
    kinds = [frozenset({type_}) for type_ in types]
    chunks = partial(numbers.chunks, body, start, end, b"},")
    try:
        blocks, are_floats = _blocks(chunks(), names, types)
    except msgspec.ValidationError:
        if int not in types:  # after an integer, floats often follow
            raise
        blocks, _ = _blocks(chunks(), names, tuple(float if type_ is int else type_ for type_ in types))
        return Table(list(names), Numbers(blocks, (len(names),), numbers.mixed_kinds(kinds, blocks)))
    if not are_floats:
        kinds = [kinds_ | {int} if float in kinds_ else kinds_ for kinds_ in kinds]
    return Table(list(names), Numbers(blocks, (len(names),), kinds))


def _blocks(chunks: Iterable[bytes], names: tuple[str, ...], types: tuple[type, ...]) -> tuple[list[Array], bool]:
    """The records' values, and whether all floats are written as such: msgspec takes an integer for a float, too.

    They are if all floats of a chunk have a point, or all have an exponent; NaN counts as a point.
    """
    read = _reader(names, types)
    of_names = non_finite.without_words(" ".join(names).encode(), b".")
    points = types.count(float) + of_names.count(b".")
    exponents = len(names) - types.count(int) + of_names.lower().count(b"e")  # true and false have one, too
    colons = len(names) + of_names.count(b":")  # a record with a name twice has one too many
    blocks = []
    are_floats = True
    for chunk in chunks:
        blocks.append(non_finite.read(read, chunk))
        text, count = np.frombuffer(non_finite.without_words(chunk, b"."), np.uint8), len(blocks[-1])
        are_floats &= count * points == np.count_nonzero(text == _POINT) or (
            count * exponents == np.count_nonzero(text | _TO_LOWER == _EXPONENT)
        )
        are_floats &= np.count_nonzero(text == _COLON) == count * colons
    return blocks, are_floats


@lru_cache(maxsize=16)
def _reader(names: tuple[str, ...], types: tuple[type, ...]) -> Callable[[bytes], Array]:
    """Reads records of these names and no others, without what encloses them, as float64 [records, names]."""
    fields = {f"f{index}": name for index, name in enumerate(names)}
    record = msgspec.defstruct(
        "Record", list(zip(fields, types, strict=True)), rename=fields.get, forbid_unknown_fields=True, gc=False
    )
    decoder = msgspec.json.Decoder(list[record])  # type: ignore[valid-type]  # made at run time

    def read(records: bytes) -> Array:
        rows = decoder.decode(b"[" + records + b"]")
        values = chain.from_iterable(map(msgspec.structs.astuple, rows))
        return np.fromiter(values, np.float64, len(rows) * len(names)).reshape(-1, len(names))

    return read


def of_csv(body: bytes) -> Table:
    """CSV whose header is plain names, and whose cells are plain numbers; `true` and `false` are none.

    Raises:
        ValueError: something about it is not as plain as that.
    """
    body = body.replace(b"\r\n", b"\n") if b"\r" in body else body
    start, end = body.index(b"\n") + 1, len(body) - body.endswith(b"\n")
    if start >= end or b'"' in body or any(body.find(odd, start) >= 0 for odd in (b" ", b"\t", b"\r", b"[")):
        raise ValueError("It has quotes, blanks or no rows.")
    names = body[: start - 1].decode("utf-8").split(",")

    def rows_in_brackets() -> Iterator[bytes]:
        for lines in numbers.chunks(body, start, end, b"\n"):
            yield b"[" + lines.replace(b"\n", b"],[") + b"]"

    first, _, _ = body[start:end].partition(b"\n")
    rows = numbers.of_texts(simdjson.Parser(), b"[" + first + b"]", rows_in_brackets(), item_depth=1)
    has_zeros = not all(block.all() for block in rows.blocks)
    if any(bool in kinds for kinds in rows.kinds) or (has_zeros and _MINUS_ZERO.search(body, start)):
        raise ValueError("It has other cells than numbers.")
    if rows.shape != (len(names),) or not all(map(_is_certain, rows.blocks)):
        raise ValueError("What its cells are may depend on who reads them.")
    return Table(names, rows)


def _is_certain(block: Array) -> bool:
    """Whether pandas would read a number that rounds to the same float32."""
    with np.errstate(over="ignore"):
        return bool(
            ((block * (1 - _PANDAS_ERROR)).astype(np.float32) == (block * (1 + _PANDAS_ERROR)).astype(np.float32)).all()
        )
