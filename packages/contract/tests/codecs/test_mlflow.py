from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from signet_contract import decode
from signet_contract.codecs import mlflow
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.errors import MalformedPayload

CONTENT = {"dataframe_split": {"data": [[1.5]]}, "dataframe_records": [{"a": 1.5}], "instances": [[1.5]], "inputs": 1.5}


@pytest.mark.parametrize("params", [None, {}, {"t": 1}, [1], "x"])
@pytest.mark.parametrize("key", CONTENT)
def test_a_key_names_the_format_and_params_may_stand_beside_it(key: str, params: Any) -> None:
    """What the content and the params hold is for the contract to see."""
    document = {key: CONTENT[key]} | ({} if params is None else {"params": params})
    for text in (json.dumps(document), json.dumps(dict(reversed(document.items())))):
        expected = DecodedRequest(mlflow.FORMATS[key], CONTENT[key], wrapped=True, params=params)
        assert decode(text.encode()) == expected


@pytest.mark.parametrize("keys", list(itertools.combinations(CONTENT, 2)))
def test_two_of_the_keys_are_rejected(keys: tuple[str, str]) -> None:
    """Which of them is meant cannot be told; the message names both."""
    with pytest.raises(MalformedPayload) as caught:
        decode(json.dumps({key: CONTENT[key] for key in keys}).encode())
    assert caught.value.message == f"The body has {list(keys)}: exactly one of them is expected."
    assert [violation.got for violation in caught.value.violations] == [str(list(keys))]


@pytest.mark.parametrize(
    "document", [{"inputs": 1.5, "more": 2.5}, {"params": {"t": 1}}, {"Inputs": 1.5}, [{"inputs": 1}]]
)
def test_what_has_other_keys_is_none_of_mlflows(document: Any) -> None:
    """A column may be called `inputs` beside others; the answer is then not wrapped."""
    decoded = decode(json.dumps(document).encode())
    assert decoded.format in (Format.COLUMNS, Format.RECORDS)
    assert not decoded.wrapped
