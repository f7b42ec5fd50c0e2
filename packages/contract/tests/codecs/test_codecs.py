from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from signet_contract import Format, codecs, decode, json_text
from signet_contract.codecs import bare, mlflow, seed
from signet_contract.codecs.reader import Reader

READER = Reader(json_text.plain, json_text.plain)
README = (Path(__file__).parents[2] / "README.md").read_text("utf-8").partition("| format | body | its answer |")[2]
ROWS = re.findall(r"^\| (\w+) \| (.+) \| (.+) \|$", README, re.MULTILINE)
"""README's table: name of the format, how a body looks, and its answer."""

# name: (who decodes it, a body, how its rows lie)
FORMATS = {
    "dataframe_split": (mlflow.decode, '{"dataframe_split": {"columns": ["a"], "data": [[1.5]]}}', Format.SPLIT),
    "dataframe_records": (mlflow.decode, '{"dataframe_records": [{"a": 1.5}]}', Format.RECORDS),
    "instances": (mlflow.decode, '{"instances": [{"a": 1.5}]}', Format.INSTANCES),
    "inputs": (mlflow.decode, '{"inputs": {"a": [1.5]}}', Format.INPUTS),
    "data": (seed.decode, '{"data": ["[{\\"a\\": 1.5}]"]}', Format.RECORDS),
    "records": (bare.decode, '[{"a": 1.5}]', Format.RECORDS),
    "columns": (bare.decode, '{"a": [1.5]}', Format.COLUMNS),
    "lists": (bare.decode, "[[1.5]]", Format.INPUTS),
    "CSV": (None, "a\n1.5\n", Format.CSV),
}


def test_each_format_has_a_row() -> None:
    """README shows all that are read, MLflow's and the seed's first."""
    assert [name for name, _, _ in ROWS] == [*FORMATS]
    assert {decoder for decoder, _, _ in FORMATS.values() if decoder} == set(codecs.DECODERS)


@pytest.mark.parametrize(("name", "_", "answer"), ROWS)
def test_each_format_is_told_from_the_others(name: str, _: str, answer: str) -> None:
    """A body of each is read as that format, and answered as README says."""
    _, body, format_ = FORMATS[name]
    decoded = decode(body.encode(), "text/csv" if name == "CSV" else "application/json")
    assert decoded.format is format_
    assert decoded.wrapped is ("predictions" in answer)


def examples(shown: str) -> list[str]:
    """The JSON bodies that README shows, without what its dots stand for."""
    texts = [
        text.replace('"<JSON>"', json.dumps("[{}]")).replace("<JSON>", "[{}]")
        for text in re.findall("`([^`]+)`", shown)
    ]
    return [text.replace(", …", "").replace("…", "") for text in texts if text[0] in "{["]


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, shown, _ in ROWS for text in examples(shown)])
def test_what_readme_shows_is_read_by_its_own_codec(name: str, text: str) -> None:
    """Those that are tried before leave it to that one."""
    document = json.loads(text)
    takes = [decoder for decoder in codecs.DECODERS if decoder(document, READER) is not None]
    assert takes[0] is FORMATS[name][0]


def test_each_format_of_json_shows_a_body() -> None:
    """A row without an example would go unread above."""
    assert {name for name, shown, _ in ROWS if examples(shown)} == FORMATS.keys() - {"CSV"}
