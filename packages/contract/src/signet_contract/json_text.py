"""Reads JSON as Python's objects, exactly as JSON types them, and says where a text is no JSON.

orjson reads it. What orjson lacks is the standard library's part: integers beyond 64 bits, NaN and Infinity, and the
position at which a text stops being JSON.

Neither TorchServe nor torch nor MLflow is imported here.
"""

from __future__ import annotations

import contextlib
import gc
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import orjson

from signet_contract.bulk import non_finite
from signet_contract.errors import MalformedPayload, NestedTooDeeply

SERVED = (
    "a JSON object with one of 'data', 'dataframe_split', 'dataframe_records', 'instances', 'inputs', "
    "a JSON object of columns, a JSON list of records, a form field 'data', or text/csv"
)

MAX_DEPTH = 32
"""Most lists and objects in one another."""

_BRACES_TO_BRACKETS = bytes.maketrans(b"{}", b"[]")
_BETWEEN_BRACKETS = np.uint8(ord("\\"))  # in ASCII "[" is one less and "]" is one more
_QUOTE = ord('"')
_BLOCK_BYTES = 1 << 16
_NEITHER_BRACKETS_NOR_QUOTES = bytes(set(range(256)) - set(b'[]{}"'))

# A smaller body makes too few objects for the garbage collector to matter.
_LARGE_BYTES = 1 << 11
_ANYTHING = msgspec.json.Decoder(msgspec.Raw)
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")  # how gzip's and zstd's bytes begin
_DIGITS_ALIKE = bytes(ord("0") if chr(byte) in "0123456789" else ord(" ") for byte in range(256))
# No integer of fewer digits is beyond 64 bits.
_MANY_DIGITS = b"0" * len(str(2**63))


def of_mlflow(text: str) -> Any:
    """What MLflow wrote: its JSON may have NaN and Infinity, as defaults of params.

    Raises:
        ValueError: it is no JSON.
    """
    return json.loads(text)


def of_utf8(body: bytes) -> str:
    """A body's text.

    Raises:
        MalformedPayload: it is empty or not UTF-8.
    """
    if not body.strip():
        raise MalformedPayload("The body is empty.", expected=SERVED, got="an empty body")
    try:
        return bytes(body).decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"byte {body[error.start]:#04x} at position {error.start}"
        hint = " It is compressed: send it uncompressed." if body.startswith(_COMPRESSED) else ""
        raise MalformedPayload(f"The body is not UTF-8: {where}.{hint}", expected="UTF-8", got=where) from error


def plain(body: bytes) -> Any:
    """Parsed JSON; `NaN` and `Infinity`, which are no JSON, are let through for the rules to name.

    Raises:
        MalformedPayload: it is no JSON, nested too deeply, or holds a lone surrogate.
    """
    try:
        if len(body) <= _LARGE_BYTES:
            return orjson.loads(body)
        with without_collector():
            return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        text = of_utf8(body)
        if error.msg.endswith("surrogate in string"):
            raise _lone_surrogate() from error
        if len(body) > _LARGE_BYTES and _is_found_by(error, body):
            raise _no_json(text, error) from error  # Python would take as long to find it as to parse the text
        return _typed(text)


def _is_found_by(error: orjson.JSONDecodeError, body: bytes) -> bool:
    """Whether orjson has stopped where the body stops being JSON, and not at what orjson alone does not read."""
    has_odd = non_finite.has_words(body) or "infinity" in error.msg
    return not has_odd and not _may_be_json(body)


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Stops the garbage collector: among the millions of objects of a large body it would double the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def exact(body: bytes) -> Any:
    """As `plain`, but no integer beyond 64 bits has become a float: what JSON typed is the rules' business."""
    return _typed(of_utf8(body)) if has_many_digits(body) else plain(body)


def require_shallow(text: bytes) -> None:
    """Reject a JSON text by its brackets, before anything is made of it.

    Raises:
        NestedTooDeeply: it is JSON, and more than `MAX_DEPTH` lists and objects stand in one another.
    """
    has_many = text.count(b"[") + text.count(b"{") > MAX_DEPTH  # told faster than how deep they are
    if has_many and _depth(text) > MAX_DEPTH and _may_be_json(text):
        raise NestedTooDeeply(MAX_DEPTH)


def _may_be_json(text: bytes) -> bool:
    """Whether a text is JSON, or nested too deeply to tell."""
    try:
        _ANYTHING.decode(non_finite.without_words(text, b"0"))
    except msgspec.DecodeError:
        return False
    except RecursionError:
        pass
    return True


def _depth(text: bytes) -> int:
    """How many lists and objects of a JSON text stand in one another."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    # In blocks, as `translate` begins with room for all that it is given.
    blocks = (text[start : start + _BLOCK_BYTES] for start in range(0, len(text), _BLOCK_BYTES))
    kept = b"".join(block.translate(_BRACES_TO_BRACKETS, _NEITHER_BRACKETS_NOR_QUOTES) for block in blocks)
    kept = kept.replace(b'""', b"")  # two adjacent quotes are left of a text without brackets
    has_texts, is_inside = b'"' in kept, False
    depth = deepest = 0
    for start in range(0, len(kept), _BLOCK_BYTES):
        found = np.frombuffer(kept[start : start + _BLOCK_BYTES], np.uint8)
        steps = (_BETWEEN_BRACKETS - found).view(np.int8)
        if has_texts:
            are_quotes = found == _QUOTE
            are_inside = np.logical_xor.accumulate(are_quotes) ^ is_inside
            steps, is_inside = np.where(are_quotes | are_inside, np.int8(0), steps), bool(are_inside[-1])
        depths = depth + steps.cumsum(dtype=np.int32)
        depth, deepest = int(depths[-1]), max(deepest, int(depths.max()))
    return deepest


def has_many_digits(body: bytes) -> bool:
    """Whether an integer in the body may be beyond 64 bits; orjson reads such an integer as a float."""
    return _MANY_DIGITS in body.translate(_DIGITS_ALIKE)


def _typed(text: str) -> Any:
    try:
        document = json.loads(text)
        if "\\u" in text:  # without escapes there are no surrogates
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        raise _no_json(text, error) from error
    except RecursionError as error:
        raise NestedTooDeeply(MAX_DEPTH) from error
    except UnicodeEncodeError as error:
        raise _lone_surrogate() from error
    except ValueError as error:  # more digits than Python converts
        raise MalformedPayload(f"The body is not JSON: {error}.", expected=SERVED, got=str(error)) from error
    return document


def _lone_surrogate() -> MalformedPayload:
    return MalformedPayload(
        "The body holds a lone surrogate, which is no character.",
        expected="UTF-8",
        got="a lone surrogate: surrogates not allowed",
    )


def _no_json(text: str, error: json.JSONDecodeError) -> MalformedPayload:
    where = f"line {error.lineno} column {error.colno} (char {error.pos})"
    hint = " If it is CSV, send it with the header 'Content-Type: text/csv'." if _may_be_csv(text) else ""
    return MalformedPayload(
        f"The body is not JSON: {error.msg}: {where}.{hint}", expected=SERVED, got=f"{error.msg}: {where}"
    )


def _may_be_csv(text: str) -> bool:
    stripped = text.strip()
    return "\n" in stripped and stripped[0] not in "{[<"
