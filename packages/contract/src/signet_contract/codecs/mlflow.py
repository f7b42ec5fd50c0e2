"""MLflow's four formats, each under a key of its own, with `params` beside it."""

from __future__ import annotations

from typing import Any

from signet_contract.codecs.codec import Codec, Reader
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.errors import MalformedPayload
from signet_contract.json_text import SERVED

_ANSWER = '`{"predictions": …}`'
_BODIES = {
    Format.SPLIT: '`{"dataframe_split": {"columns": […], "data": [[…]]}}`',
    Format.RECORDS: '`{"dataframe_records": [{…}, …]}`',
    Format.INSTANCES: '`{"instances": [{…}, …]}` or nested lists',
    Format.INPUTS: '`{"inputs": {…}}` or nested lists',
}
FORMATS = {format_.value: format_ for format_ in _BODIES}


def _decode(document: Any, _: Reader) -> DecodedRequest | None:
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


CODECS = [Codec(format_.value, body, _ANSWER, _decode) for format_, body in _BODIES.items()]
