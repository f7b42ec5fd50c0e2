"""Large JSON documents, whose long lists of numbers and of records are read into arrays.

A document is taken apart: where a long list begins is found by how it begins, and where it ends by its brackets. What
is left is small and parsed as usual, with a placeholder where each list was.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import orjson
import simdjson

from signet_contract.bulk.numbers import RAISED, Numbers, of_labelled, of_list
from signet_contract.bulk.tables import Table, of_records

Read = Numbers | Table

_RAISED = (msgspec.MsgspecError, *RAISED)

# A shorter list is left where it is.
_LONG_BYTES = 512

# A body without a list in so many bytes, or with so many short lists, will have no long list either.
_FAR_BYTES = 1 << 16
_MANY = 4096

# As in {"inputs": {"a": [1.5, 2.5]}}.
_LEVELS = 2

_DOCUMENT = re.compile(rb"[ \t\r\n]*[\[{]")  # how a list or an object begins

# How a list of numbers, a list of records, and an object of numbers that are named by numbers begin.
_BEGINNING = re.compile(
    rb'(?P<numbers>(?:\[[ \t\r\n]*){1,8}+(?=[-0-9tfNI]))|(?P<records>\[[ \t\r\n]*(?=\{))|(?P<labelled>\{)(?="[0-9]+":)'
)


def loads(body: bytes) -> Any:
    """The document, in which `Numbers` and `Table` stand for long lists of numbers and of records of numbers.

    Raises:
        ValueError: it has none, or something about it is unusual: it must be parsed in the ordinary way.
    """
    if b"\\" in body or not _DOCUMENT.match(body):  # an escaped quote would be taken for the end of a text
        raise ValueError("It has escapes, or is neither a list nor an object.")
    try:
        text, lists = _taken_apart(body)
        # Any other empty text could be of a placeholder that the client has made up.
        if not lists or len(text) > _FAR_BYTES or text.count(b'""') != len(lists):
            raise ValueError("It has no long lists, or others than of numbers, or empty texts.")
        unused = dict(enumerate(lists))
        document = _filled(orjson.loads(text), unused, _LEVELS)
    except _RAISED as error:
        raise ValueError(str(error)) from error
    if unused:
        raise ValueError("It has long lists where nobody looks for them.")
    return document


def _taken_apart(body: bytes) -> tuple[bytes, list[Read]]:
    """The body with a placeholder, `{"": number}`, in the place of each long list, and the lists by these numbers.

    If a list was cut out of the middle of a text, the placeholder's quotes end that text, and orjson refuses it.
    """
    parser = simdjson.Parser()
    rest: list[bytes] = []
    lists: list[Read] = []
    position = searched = short = 0
    while found := _BEGINNING.search(body, searched, searched + _FAR_BYTES):
        searched = found.end()
        end, read = _list_at(parser, body, found)
        if read is None:
            short += 1
            if short > _MANY:
                raise ValueError("Its lists are short.")
            continue
        if isinstance(read, Table) and any(isinstance(other, Table) for other in lists):
            raise ValueError("It has records in columns.")
        rest += body[position : found.start()], b'{"":%d}' % len(lists)
        lists.append(read)
        position = searched = end
    return b"".join([*rest, body[position:]]), lists


def _list_at(parser: simdjson.Parser, body: bytes, found: re.Match[bytes]) -> tuple[int, Read | None]:
    """Where the list that begins at `found` ends, and the list; None for a short one."""
    start = found.end()
    if opening := found["numbers"]:
        depth = opening.count(b"[")
        # There is no text in a list of numbers: it ends with the last of its brackets before the next text.
        next_text = body.find(b'"', start)
        end = body.rindex(b"]" * depth, start, next_text if next_text >= 0 else len(body)) + depth
        first_item = found.start() + 1
        return end, of_list(parser, body, first_item, end - 1, depth - 1) if end - first_item > _LONG_BYTES else None
    end = body.index(b"]" if found["records"] else b"}", start) + 1
    if end - start <= _LONG_BYTES:
        return end, None
    if found["records"]:
        return end, of_records(body, start, end - 1)
    return end, of_labelled(parser, body, start, end - 1)


def _filled(node: Any, lists: dict[int, Read], levels: int) -> Any:
    """The node with some of the `lists` in the place of their placeholders; these are taken out."""
    if not isinstance(node, dict):
        return node
    if len(node) == 1 and "" in node:
        return lists.pop(node[""])
    return {name: _filled(value, lists, levels - 1) for name, value in node.items()} if levels else node
