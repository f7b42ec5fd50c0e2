"""What came in a request's body, whichever of the served formats it is written in.

| format              | body                                                  | its answer                        |
| ------------------- | ----------------------------------------------------- | --------------------------------- |
| form field `data`   | `data=<JSON>`, urlencoded or multipart                | the bare label, or a list of them |
| `data`              | `{"data": ["<JSON>", …]}` or `{"data": <JSON>}`       | as above                          |
| bare record(s)      | `[{"a": 1.5}, …]`                                     | as above                          |
| bare columns        | `{"a": 1.5}`, `{"a": [1.5, …]}`, `{"a": {"0": 1.5}}`  | as above                          |
| CSV                 | `text/csv`, a header line first                       | as above                          |
| `dataframe_split`   | `{"dataframe_split": {"columns": […], "data": [[…]]}}`| `{"predictions": […]}`            |
| `dataframe_records` | `{"dataframe_records": [{…}, …]}`                     | as above                          |
| `instances`         | `{"instances": [{…}, …]}` or nested lists             | as above                          |
| `inputs`            | `{"inputs": {…}}` or nested lists                     | as above                          |

MLflow's four formats take `params` beside them. Neither TorchServe nor torch nor MLflow is imported here.
"""

from __future__ import annotations

import contextlib
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from itertools import chain
from typing import Any

from signet_torchserve import documents, json_text, long_lists, tables
from signet_torchserve.errors import MalformedPayload
from signet_torchserve.json_text import SERVED
from signet_torchserve.long_lists import LongList, Unsliced
from signet_torchserve.numbers import Numbers
from signet_torchserve.tables import Table

Loads = Callable[[bytes], Any]


class Format(Enum):
    """How the rows of a payload are written down."""

    COLUMNS = "columns"
    RECORDS = "dataframe_records"
    SPLIT = "dataframe_split"
    INSTANCES = "instances"
    INPUTS = "inputs"
    CSV = "csv"


MLFLOW_FORMATS = {member.value: member for member in (Format.SPLIT, Format.RECORDS, Format.INSTANCES, Format.INPUTS)}


@dataclass(slots=True)  # frozen would take as long to make as the body takes to parse
class Payload:
    """Decoded request: `content` as JSON typed it (for CSV the text), in the orientation that `format` names.

    In a large body `Numbers` and `Table` may stand for lists of numbers and for records, and for a text of CSV. A large
    one that cannot be read so has not been read at all: its `content` is None.

    `wrapped` is true for MLflow's own formats, whose answers are wrapped in `{"predictions": …}`.
    """

    format: Format
    content: Any
    wrapped: bool = False
    params: Any = None
    source: Source | None = field(default=None, compare=False, repr=False)
    """What it was decoded from."""
    is_exact: bool = field(default=False, compare=False, repr=False)
    """Whether it has been read, into dicts, lists and texts only, and integers beyond 64 bits are integers."""

    def exact(self) -> Payload:
        """The same, exact.

        Raises:
            MalformedPayload: it had not been read, and cannot be.
        """
        return self if self.is_exact or self.source is None else self.source.exact()


@dataclass(slots=True)
class Source:
    """A body, or a form's field `data`, as it came."""

    text: bytes
    is_form: bool = False
    is_csv: bool = False

    def decode(self) -> Payload:
        """Its payload, as fast as it can be had.

        Raises:
            MalformedPayload: the text is empty, not UTF-8, not JSON, or JSON in none of the served formats.
        """
        try:
            payload = Payload(Format.CSV, _csv(self.text)) if self.is_csv else self._of_json(_json)
        except _Unread:
            return self.unread()
        payload.source = self
        return payload

    def unread(self) -> Payload:
        """Its payload, not read yet: until then all but the source is unknown."""
        return Payload(Format.INPUTS, None, source=self)

    def exact(self) -> Payload:
        """Its payload, exact.

        Raises:
            MalformedPayload: as above.
        """
        payload = Payload(Format.CSV, json_text.of_utf8(self.text)) if self.is_csv else self._of_json(json_text.exact)
        payload.source, payload.is_exact = self, True
        return payload

    def sliced(self, least: int = long_lists.MIN_BYTES) -> Payload:
        """Its payload, exact, but with `LongList`s where it has lists of more than `least` bytes.

        Raises:
            Unsliced: that is not to be had; the body may be malformed.
        """
        try:
            payload = self._of_json(partial(_sliced_json, least))
        except MalformedPayload as error:
            raise Unsliced from error
        payload.source = self
        return payload

    def _of_json(self, loads: Loads) -> Payload:
        document = loads(self.text)
        return _of_field(document, loads) if self.is_form else _payload(document, loads)


def decode(body: bytes, content_type: str = "") -> Payload:
    """Payload of a request whose body is not a form.

    The media type matters for `text/csv` only: JSON is recognised by itself.

    Raises:
        MalformedPayload: the body is empty, not UTF-8, not JSON, or JSON in none of the served formats.
    """
    is_csv = content_type[:4].lower() == "text" and content_type.partition(";")[0].strip().lower() == "text/csv"
    return Source(body, is_csv=is_csv).decode()


def decode_form(fields: Mapping[str, bytes]) -> Payload:
    """Payload of a form: its field `data` holds JSON, as the seed's predict script posts it.

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
    return Source(fields["data"], is_form=True).decode()


def _of_field(document: Any, loads: Loads) -> Payload:
    if isinstance(document, dict) and ("data" in document or MLFLOW_FORMATS.keys() & document.keys()):
        return _payload(document, loads)
    return _bare(document)


def _payload(document: Any, loads: Loads) -> Payload:
    if isinstance(document, dict):
        if "data" in document and len(document) == 1:
            return _seed(document["data"], loads)
        named = [key for key in document if key in MLFLOW_FORMATS]
        if len(named) == 1 and not document.keys() - {named[0], "params"}:
            return Payload(MLFLOW_FORMATS[named[0]], document[named[0]], wrapped=True, params=document.get("params"))
        if len(named) > 1:
            raise MalformedPayload(
                f"The body has {named}: exactly one of them is expected.", expected=SERVED, got=str(named)
            )
    return _bare(document)


def _seed(data: Any, loads: Loads) -> Payload:
    """The seed's `{"data": ["<json>"]}`: one JSON text, or several whose rows follow one another."""
    texts = data if type(data) is list else [data]
    if set(map(type, texts)) != {str}:
        # `data` may be an ordinary column's name, or hold the rows unquoted.
        return Payload(Format.COLUMNS, {"data": data}) if _is_column(data) else _bare(data)
    if len(texts) == 1:
        return _bare(loads(texts[0].encode("utf-8", "surrogatepass")))
    loads = json_text.plain if loads is _json else json_text.exact
    payloads = [_bare(loads(text.encode("utf-8", "surrogatepass"))) for text in texts]
    return Payload(Format.RECORDS, list(chain.from_iterable(map(_records, payloads))))


def _is_column(data: Any) -> bool:
    if isinstance(data, Numbers):
        return data.labels is None and not data.shape
    if isinstance(data, LongList):
        return not data.is_labelled and not isinstance(data.first, (dict, list))
    if isinstance(data, list) and data:
        return not isinstance(data[0], (dict, list))
    return not isinstance(data, (dict, Table))


def _bare(document: Any) -> Payload:
    if isinstance(document, dict) or (isinstance(document, Numbers) and document.labels is not None):
        return Payload(Format.COLUMNS, document)
    if isinstance(document, Table) or (
        isinstance(document, list) and document and all(isinstance(item, dict) for item in document)
    ):
        return Payload(Format.RECORDS, document)
    if isinstance(document, LongList):  # whether its other items are alike, who looks at them will see
        if document.is_labelled:
            raise Unsliced
        return Payload(Format.RECORDS if isinstance(document.first, dict) else Format.INPUTS, document)
    if isinstance(document, (list, Numbers)):
        return Payload(Format.INPUTS, document)
    raise MalformedPayload(
        f"The body is a JSON {_kind(document)}; expected {SERVED}.", expected=SERVED, got=f"a JSON {_kind(document)}"
    )


def _records(payload: Payload) -> list[Any]:
    """Rows of one of the seed's several texts as records, so that they can be appended to one another."""
    if payload.format is Format.RECORDS:
        return list(payload.content)
    if payload.format is not Format.COLUMNS:
        raise MalformedPayload(
            "Several texts under 'data' must each hold columns or records.",
            expected="columns or records",
            got="a JSON list",
        )
    columns = {name: _values(column) for name, column in payload.content.items()}
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


def _csv(body: bytes) -> str | Table:
    """The text, or what is in it if there is no doubt."""
    with contextlib.suppress(ValueError):
        return tables.of_csv(body)
    return json_text.of_utf8(body)


class _Unread(Exception):
    """To read a large text takes long, and whatever is in it is for enforcement to decide, which reads it again."""


def _json(body: bytes) -> Any:
    """Parsed JSON, of which a large one may be read into arrays (`documents`).

    Raises:
        _Unread: it is very large, and cannot be read so.
    """
    if len(body) > _LARGE_BYTES:
        with contextlib.suppress(ValueError):
            return documents.loads(body)
        if len(body) > _VERY_LARGE_BYTES and not _OF_TEXTS.match(body):
            raise _Unread
    return json_text.plain(body)


def _sliced_json(least: int, body: bytes) -> Any:
    """Parsed JSON with `LongList`s, exact."""
    if _OF_TEXTS.match(body):
        return json_text.exact(body)
    if not json_text.is_shallow(body):
        raise Unsliced
    return long_lists.loads(body, _LOOKED_INTO, least)


_LARGE_BYTES = 1 << 11
_VERY_LARGE_BYTES = 1 << 16
_LOOKED_INTO = frozenset(MLFLOW_FORMATS)
# How the seed's JSON in JSON begins, whose outer one is nothing but texts.
_OF_TEXTS = re.compile(rb'\s*\{\s*"data"\s*:\s*\[?\s*"')


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "boolean", int: "number", float: "number", str: "string", list: "list", dict: "object"}
    return kinds[type(value)]
