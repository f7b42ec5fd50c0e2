"""CSV, a header line first; its media type tells it from JSON."""

from __future__ import annotations

from signet_contract.bulk.tables import Table
from signet_contract.decoded_request import DecodedRequest, Format


def is_said_by(content_type: str) -> bool:
    """Whether a header Content-Type says that the body is CSV."""
    return content_type[:4].lower() == "text" and content_type.partition(";")[0].strip().lower() == "text/csv"


def decode(text: str | Table) -> DecodedRequest:
    """The request of CSV's text, or of the table that is in it."""
    return DecodedRequest(Format.CSV, text)
