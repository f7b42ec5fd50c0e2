"""A request whose body has been read, whichever format it was written in."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from signet_contract.request import RawBody


class Format(Enum):
    """How the rows of a request are written down."""

    COLUMNS = "columns"
    RECORDS = "dataframe_records"
    SPLIT = "dataframe_split"
    INSTANCES = "instances"
    INPUTS = "inputs"
    CSV = "csv"


UNREAD: Any = object()
"""Stands for content that this process does not hold: it was never read, or it was dropped. `source` has all of it."""


@dataclass(slots=True)  # frozen would take as long to make as the body takes to parse
class DecodedRequest:
    """Decoded request: `content` as JSON typed it (for CSV the text), in the orientation that `format` names.

    A large body may be in compact form: `Numbers` or a `Table` stand for its lists or its CSV. `content` is `UNREAD`
    where JSON is very large and has no compact form, and once the enforcement service was asked.

    `wrapped` is true for MLflow's own formats, whose answers are wrapped in `{"predictions": …}`.
    """

    format: Format
    content: Any
    wrapped: bool = False
    params: Any = None
    is_inside: bool = field(default=False, compare=False, repr=False)
    """Whether `content` stood under the key `data` of the body, so that its keys are not the body's."""
    source: RawBody | None = field(default=None, compare=False, repr=False)
    """What it was decoded from."""
    is_exact: bool = field(default=False, compare=False, repr=False)
    """Whether `content` was read into Python's objects only, and an integer beyond 64 bits is an integer."""
