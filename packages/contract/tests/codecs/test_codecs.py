from __future__ import annotations

import pytest
from signet_contract import Format, codecs, decode
from signet_contract.codecs import mlflow

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


def test_the_table_has_a_row_for_each_codec() -> None:
    """A head, a rule, and the codecs in their order."""
    names = [row.split(" | ")[0].removeprefix("| ") for row in codecs.table().splitlines()]
    assert names == ["format", "---", *(codec.name for codec in codecs.CODECS)]
