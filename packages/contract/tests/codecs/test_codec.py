from __future__ import annotations

import json
import re

import pytest
from signet_contract import codecs, json_text
from signet_contract.codecs.codec import Codec, Reader

READER = Reader(json_text.plain, json_text.plain)

JSON_CODECS = [codec for codec in codecs.CODECS if codec.name != "CSV"]


def examples(codec: Codec) -> list[str]:
    """The JSON bodies that a codec's description shows, without what its dots stand for."""
    shown = re.findall("`([^`]+)`", codec.body)
    texts = [text.replace('"<JSON>"', json.dumps("[{}]")).replace("<JSON>", "[{}]") for text in shown]
    return [text.replace(", …", "").replace("…", "") for text in texts if text[0] in "{["]


EXAMPLES = [pytest.param(codec, text, id=f"{codec.name}: {text}") for codec in JSON_CODECS for text in examples(codec)]


@pytest.mark.parametrize(("codec", "text"), EXAMPLES)
def test_a_codec_reads_what_it_shows_and_none_before_it_does(codec: Codec, text: str) -> None:
    """README's table shows bodies that the codec takes itself: those that are tried before leave them to it."""
    document = json.loads(text)
    assert codec.decode(document, READER) is not None
    before = {each.decode for each in JSON_CODECS[: JSON_CODECS.index(codec)]} - {codec.decode}
    assert [decode(document, READER) for decode in before] == [None] * len(before)


def test_each_codec_shows_a_body() -> None:
    """A codec of JSON without an example would go unread above."""
    assert {each.values[0].name for each in EXAMPLES} == {codec.name for codec in JSON_CODECS}
