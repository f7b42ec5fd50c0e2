"""Puts the likely mistake, such as semicolons in CSV, in the place of a rejection that would not help its reader.

`{"instances": …, "signature_name": …}` is an object of two columns, and CSV without line ends is a header of odd names.
A list of missing columns would help nobody there. A signature may have such columns, so only a rejected request is
looked at.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import msgspec

from signet_contract.codecs import mlflow
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.errors import MalformedPayload, Rejected, listed

_SPLIT_KEYS = {"columns", "index", "data"}
_LINE_END = re.compile(r"[\r\n]")
_SEPARATORS = {";": "semicolons", "\t": "tabs"}


def explained(rejection: Rejected, decoded: DecodedRequest, names: Collection[str]) -> Rejected:
    """The rejection that names the mistake, or the given one if none is known.

    Args:
        rejection: why the signature does not admit the request.
        decoded: the request.
        names: of the signature's inputs.
    """
    mistake = None
    if decoded.format is Format.COLUMNS and isinstance(decoded.content, dict) and not decoded.is_inside:
        mistake = _of_keys(decoded.content, names)
    elif decoded.format is Format.CSV and isinstance(decoded.content, str):
        mistake = _of_csv(decoded.content, names, is_empty=rejection.rule == "empty")
    return mistake or rejection


def _of_keys(content: dict[str, object], names: Collection[str]) -> MalformedPayload | None:
    if not content.keys().isdisjoint(names):
        return None
    if content.keys() <= _SPLIT_KEYS and len(content) > 1 and "data" in content:
        return MalformedPayload(
            f"The body has the keys {listed(list(content))} at the top, as in MLflow 1: put them under the key "
            "'dataframe_split'.",
            expected="an object under the key 'dataframe_split'",
            got=f"the keys {listed(list(content))} at the top",
        )
    formats = [key for key in content if key in mlflow.FORMATS or key == "data"]
    if len(formats) != 1:
        return None
    known = "no other key" if formats == ["data"] else "no other key than 'params'"
    unknown = [key for key in content if key not in formats and (key != "params" or formats == ["data"])]
    if not unknown:
        return None
    return MalformedPayload(
        f"The body has unknown keys beside '{formats[0]}': {listed(unknown)}. Beside '{formats[0]}' {known} is known.",
        expected=f"{known} beside '{formats[0]}'",
        got=listed(unknown),
    )


def _of_csv(text: str, names: Collection[str], *, is_empty: bool) -> MalformedPayload | None:
    text = text.strip()
    end = _LINE_END.search(text)
    header = text[: end.start()] if end else text
    if text[:1] in ("{", "[") and _is_json(text):
        return MalformedPayload(
            "The body is JSON, and its Content-Type is text/csv: send it with the header "
            "'Content-Type: application/json'.",
            expected="CSV, or JSON with the header 'Content-Type: application/json'",
            got="JSON with the header 'Content-Type: text/csv'",
        )
    for separator, called in _SEPARATORS.items():
        if separator in header and "," not in header and header not in names:
            return MalformedPayload(
                f"The CSV has {called} in its header: commas are expected between cells, and points in numbers.",
                expected="CSV with commas",
                got=f"CSV with {called}",
            )
    if end is None and not is_empty:
        return MalformedPayload(
            "The CSV has one line: a header and rows are expected, each on a line of its own. curl's -d takes line "
            "ends away; -T and --data-binary keep them.",
            expected="a header line and lines of rows",
            got="one line",
        )
    return None


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)  # which makes no objects
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
