from __future__ import annotations

import pytest
from signet_contract.bulk import tables


@pytest.mark.parametrize(
    ("body", "names", "rows"),
    [
        (b"a,b\n1,2.5\n", ["a", "b"], [[1, 2.5]]),
        (b"a b,\xc3\xa9\r\n-1.5,2.5e-3\r\n1e5,0.0", ["a b", "é"], [[-1.5, 0.0025], [1e5, 0]]),
        (b"a\n1\n2\n", ["a"], [[1], [2]]),
        (b"a,b\r\n-0.5,-0.0\r\n-10.0,0.0\r\n", ["a", "b"], [[-0.5, -0.0], [-10, 0]]),
        (b"a,b\n0,-10\n0,-1\n", ["a", "b"], [[0, -10], [0, -1]]),
        (b"a,b\n" + b"1.5,-2\n" * 40_000 + b"-0.25,0", ["a", "b"], [[1.5, -2]] * 40_000 + [[-0.25, 0]]),
    ],
)
def test_plain_csv_is_read(body: bytes, names: list[str], rows: list[list[float]]) -> None:
    """Numbers below plain names are read, with either end of a line."""
    table = tables.of_csv(body)
    assert table.names == names
    assert [row for block in table.rows.blocks for row in block.tolist()] == rows


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"a\n",
        b'"a"\n1\n',
        b"a,b\n1\n",
        b"a,b\n1,2,3\n",
        b"a\n1\n\n2\n",
        b"a\n 1\n",
        b'a\n"1"\n',
        b"a\n01\n",
        b"a\n+1\n",
        b"a\n1.\n",
        b"a\n-0\n",
        b"a,b\n-0,1\n",
        b"a,b\n" + b"1,2\n" * 40_000 + b"1,-0",
        b"a,b\n" + b"1.5,2\n" * 40_000 + b"1.5\n",
        b"a,b\n" + b"1.5,2\n" * 40_000 + b"\n1.5,2\n",
        b"a,b\n" + b"1.5,2\n" * 40_000 + b"true,2\n",
        b"a\nnan\n",
        b"a\ntrue\n",
        b"a,b\n1,\n",
        b"a\n1],[2\n",
        b"a\n1\r2\n",
        b"a\n100000000000000000000\n",
        b"a,b\n1,2\n1,-100000000000000000000\n",
        b"\xff\n1\n",
        b"a\n16777217.0000000001\n",
    ],
)
def test_other_csv_is_not_sure(body: bytes) -> None:
    """Quotes, blanks, empty cells, odd numbers, and those that pandas may round elsewhere are for the slow way."""
    with pytest.raises(ValueError, match=r"."):
        tables.of_csv(body)
