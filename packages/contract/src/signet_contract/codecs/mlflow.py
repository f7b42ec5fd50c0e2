"""MLflow's four formats, each under a key of its own, with `params` beside it."""

from __future__ import annotations

from typing import Any

from signet_contract.codecs.reader import Reader
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.errors import MalformedPayload
from signet_contract.json_text import SERVED

FORMATS = {format_.value: format_ for format_ in (Format.SPLIT, Format.RECORDS, Format.INSTANCES, Format.INPUTS)}
"""The formats by their keys."""


def decode(document: Any, _: Reader) -> DecodedRequest | None:
    if type(document) is not dict:
        return None
    if len(document) - ("params" in document) == 1:
        for name, content in document.items():
            if name in FORMATS:
                return DecodedRequest(FORMATS[name], content, wrapped=True, params=document.get("params"))
        return None
    named = [key for key in document if key in FORMATS]
    if len(named) > 1:
        raise MalformedPayload(
            f"The body has {named}: exactly one of them is expected.", expected=SERVED, got=str(named)
        )
    return None
