from __future__ import annotations

import json

import pytest
from signet_contract import Format, codecs, decode
from signet_contract.bulk.long_lists import LongList
from signet_contract.codecs import mlflow
from signet_contract.request import RawBody

BODIES = {
    "dataframe_split": ('{"dataframe_split": {"columns": ["a"], "data": [[1.5]]}}', Format.SPLIT),
    "dataframe_records": ('{"dataframe_records": [{"a": 1.5}]}', Format.RECORDS),
    "instances": ('{"instances": [{"a": 1.5}]}', Format.INSTANCES),
    "inputs": ('{"inputs": {"a": [1.5]}}', Format.INPUTS),
    "data": ('{"data": ["[{\\"a\\": 1.5}]"]}', Format.RECORDS),
    "records": ('[{"a": 1.5}]', Format.RECORDS),
    "columns": ('{"a": [1.5]}', Format.COLUMNS),
    "lists": ("[[1.5]]", Format.INPUTS),
    "CSV": ("a\n1.5\n", Format.CSV),
}


@pytest.mark.parametrize("codec", codecs.CODECS, ids=lambda codec: codec.name)
def test_each_codec_reads_its_format(codec: codecs.Codec) -> None:
    """A body of each is told from the others, and answered in MLflow's way if it is one of MLflow's."""
    body, format_ = BODIES[codec.name]
    decoded = decode(body.encode(), "text/csv" if codec.name == "CSV" else "application/json")
    assert decoded.format is format_
    assert decoded.wrapped is (codec in mlflow.CODECS)
    assert decoded.wrapped is ("predictions" in codec.answer)


@pytest.mark.parametrize("count", [1, 2])
def test_texts_in_a_text_are_as_exact_as_the_text(count: int) -> None:
    """An integer beyond 64 bits stays one in each of them, also where long lists are looked through piece by piece."""
    text = json.dumps([{"a": 10**30}])
    body = RawBody(json.dumps({"data": [text] * count}).encode())
    for decoded in (body.exact(), body.sliced(1)):
        rows = decoded.content.take(range(count)) if isinstance(decoded.content, LongList) else decoded.content
        assert [row["a"] for row in rows] == [10**30] * count
        assert {type(row["a"]) for row in rows} == {int}
