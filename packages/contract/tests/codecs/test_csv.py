from __future__ import annotations

import numpy as np
import pytest
from signet_contract import decode
from signet_contract.bulk.tables import Table
from signet_contract.codecs import csv
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.request import RawBody


@pytest.mark.parametrize("media", ["text/csv", "text/csv; charset=utf-8", "Text/CSV", "TEXT/CSV ;header=present"])
def test_csv_is_known_by_its_media_type(media: str) -> None:
    """Text is CSV only where the Content-Type says so."""
    assert csv.is_said_by(media)
    assert decode("é\nx\n".encode(), media) == DecodedRequest(Format.CSV, "é\nx\n")


@pytest.mark.parametrize(
    "media", ["", "text", "text/csvx", "text/plain", "application/csv", "application/json; note=text/csv", " text/csv"]
)
def test_no_other_media_type_is_csv(media: str) -> None:
    """What only looks like it is read as JSON."""
    assert not csv.is_said_by(media)


def test_plain_csv_is_a_table_and_other_csv_a_text() -> None:
    """Cells that every reader reads alike are read at once; the rest is pandas' to read."""
    plain, quoted = decode(b"a,b\n1.5,2\n", "text/csv"), decode(b'a,b\n"1.5",2\n', "text/csv")
    assert isinstance(plain.content, Table)
    assert plain.content.names == ["a", "b"]
    assert np.concatenate(plain.content.rows.blocks).tolist() == [[1.5, 2.0]]
    assert quoted == DecodedRequest(Format.CSV, 'a,b\n"1.5",2\n')


def test_exact_csv_is_its_text() -> None:
    """Enforcement gets what came."""
    assert RawBody(b"a,b\n1.5,2\n", is_csv=True).exact() == DecodedRequest(Format.CSV, "a,b\n1.5,2\n")
