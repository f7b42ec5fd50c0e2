from __future__ import annotations

import json
from typing import Any

import pytest
import requests_drawn as drawn
from fast_and_slow import outcome, slowly
from hypothesis import event, given
from hypothesis import strategies as st
from signet_contract import request
from signet_contract.contract import Contract
from signet_contract.errors import Rejected

from testing.oracle import columns_schema, signature_document


def varied(draw: st.DrawFn, document: Any) -> Any:  # noqa: PLR0911 -- one for each kind
    """Other values of the same kinds."""
    if isinstance(document, dict):
        names = ("columns",) if "data" in document else ()
        return {name: value if name in names else varied(draw, value) for name, value in document.items()}
    if isinstance(document, list):
        return [varied(draw, value) for value in document]
    if isinstance(document, str):
        if document[:1] in ("{", "["):  # the seed's JSON in JSON
            return json.dumps(varied(draw, json.loads(document)))
        return draw(st.sampled_from(["", "abc", "1.5", "2020-01-01", "true", "nan"]))
    if isinstance(document, bool) or document is None:
        return draw(st.booleans()) if document is not None else None
    if isinstance(document, int):
        return draw(st.integers(-(2**31) + 1, 2**31 - 1)) if abs(document) < 2**31 else document
    if abs(document) >= 2**31:
        return document
    return draw(st.integers(-99, 99)) + (0.0 if document.is_integer() else 0.25)


@given(st.data())
def test_rejections_that_repeat_are_those_that_the_slow_way_gives(data: st.DataObject) -> None:
    """A rejection that is remembered for one request is word for word what another of its kind would get."""
    schema = data.draw(drawn.column_schemas(drawn.NUMBERS, optional=data.draw(st.booleans())))
    body, _ = data.draw(drawn.requests(schema))
    document = signature_document(schema)
    contract = Contract(document)
    outcome(contract, body)
    other = json.dumps(varied(data.draw, json.loads(body))).encode() if body[:1] in b"{[" else body
    slow = slowly(document, request.decode(other))
    again = outcome(contract, other)
    assert isinstance(again, Rejected) is isinstance(slow, Rejected)
    if isinstance(again, Rejected) and isinstance(slow, Rejected):
        event("remembered" if contract._rejections and contract._rejections._by_key else "particular")
        assert again.document() == slow.document()


@pytest.mark.parametrize("first", [0, 1])
def test_what_is_said_of_keys_depends_on_where_they_stand(first: int) -> None:
    """Inside the seed's format, keys that resemble another format's are columns, and no mistake."""
    document = signature_document(columns_schema(("double", "a")))
    plain = {"instances": [[1.5]], "x": 1.5}
    bodies = [json.dumps(it).encode() for it in (plain, {"data": plain})]
    told = [slowly(document, request.decode(body)) for body in bodies]
    assert [it.rule for it in told if isinstance(it, Rejected)] == ["format", "columns"]
    contract = Contract(document)
    outcome(contract, bodies[first])
    again = outcome(contract, bodies[1 - first])
    assert isinstance(again, Rejected)
    assert isinstance(told[1 - first], Rejected)
    assert again.document() == told[1 - first].document()


@pytest.mark.parametrize("name", [None, "a"])
def test_what_is_said_of_a_mixed_column_depends_on_its_texts(name: str | None) -> None:
    """MLflow would convert a text that is a number, so that a rejection of another text is not remembered for it."""
    schema = columns_schema(("double", name))
    contract = Contract(signature_document(schema))
    for text in ("a", ""):
        split = {"data": [[text], [0.5]], **({"columns": [name]} if name else {})}
        decoded = request.decode(json.dumps({"dataframe_split": split}).encode())
        slow = slowly(signature_document(schema), decoded)
        with pytest.raises(Rejected) as refused:
            contract.admit(decoded)
        assert isinstance(slow, Rejected)
        assert refused.value.message == slow.message
