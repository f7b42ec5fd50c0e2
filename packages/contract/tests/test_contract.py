from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fast_and_slow import PARAMS, SIGNATURES, TWO, outcome
from hypothesis import event, given
from hypothesis import strategies as st
from signet_contract.contract import Contract
from signet_contract.errors import Rejected

from testing.oracle import columns_schema, signature_document

_names = st.sampled_from(["a", "b", "double", "long", "t", "data", "columns", "index", "params", "inputs", "instances"])


_json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_names, inner, max_size=3)),
    max_leaves=8,
)


_documents = st.one_of(
    _json_values,
    st.dictionaries(
        st.sampled_from(["data", "dataframe_split", "dataframe_records", "instances", "inputs", "params"]),
        st.one_of(_json_values, st.dictionaries(_names, _json_values, max_size=4), st.builds(json.dumps, _json_values)),
        min_size=1,
        max_size=2,
    ),
    st.fixed_dictionaries(
        {
            "dataframe_split": st.fixed_dictionaries(
                {"data": _json_values}, optional={"columns": _json_values, "index": _json_values}
            )
        }
    ),
    st.fixed_dictionaries({"inputs": _json_values, "params": st.dictionaries(_names, _json_values, max_size=3)}),
)


@given(document=_documents, name=st.sampled_from(sorted(SIGNATURES)), has_params=st.booleans())
def test_any_json_is_accepted_or_rejected(document: Any, name: str, *, has_params: bool) -> None:
    """Whatever JSON comes for whatever signature, it is accepted or rejected; nothing else is ever raised."""
    contract = Contract(signature_document(SIGNATURES[name], PARAMS if has_params else None))
    result = outcome(contract, json.dumps(document).encode())
    event(f"{name}: {type(result).__name__}")
    if isinstance(result, Rejected):
        assert result.violations
        json.dumps(result.document(), allow_nan=False)


@given(
    text=st.one_of(
        st.text(st.sampled_from("ab,\n\"'1.5;\t\r\x00 é"), max_size=40),
        st.builds(lambda rows: "a,b\n" + "\n".join(rows), st.lists(st.text('1.,"e-nTxy', max_size=8), max_size=4)),
    ),
    name=st.sampled_from(sorted(SIGNATURES)),
)
def test_any_csv_is_accepted_or_rejected(text: str, name: str) -> None:
    """Whatever text comes as CSV, it is accepted or rejected."""
    outcome(Contract(signature_document(SIGNATURES[name])), text.encode(), "text/csv")


NASTY = {
    "nothing": b"",
    "blank": b" \n",
    "NUL": b"\x00",
    "half a document": b'{"inputs": ',
    "two documents": b"{} {}",
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "deep and closed": b'{"inputs": ' + b"[" * 900 + b"1.5" + b"]" * 900 + b"}",
    "deeper than numpy": b'{"inputs": {"a": ' + b"[" * 70 + b"]" * 70 + b', "b": 1}}',
    "long number": b'{"inputs": {"a": [' + b"9" * 5000 + b'], "b": [1.5]}}',
    "UTF-8 with BOM": b'\xef\xbb\xbf{"inputs": {"a": [1.5], "b": [1.5]}}',
    "UTF-16": '{"inputs": {"a": [1.5], "b": [1.5]}}'.encode("utf-16"),
    "Latin-1": '{"é": 1}'.encode("latin-1"),
    "lone surrogate": b'{"\\ud800": 1.5}',
    "lone surrogate as value": b'{"inputs": {"a": ["\\udfff"], "b": [1.5]}}',
    "empty list": b"[]",
    "empty object": b"{}",
    "list of empty": b"[{}]",
    "null": b"null",
    "number": b"1.5",
    "string": b'"a"',
    "true": b"true",
    "ragged": b'{"inputs": [[1.5, 1.5], [1.5]]}',
    "ragged columns": b'{"inputs": {"a": [1.5, 2.5], "b": [1.5]}}',
    "ragged split": b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1.5, 2.5], [1.5]]}}',
    "twice the column": b'{"dataframe_split": {"columns": ["a", "a"], "data": [[1.5, 2.5]]}}',
    "no such split": b'{"dataframe_split": {"rows": []}}',
    "index of another length": b'{"dataframe_split": {"columns": ["a"], "data": [[1.5], [2.5]], "index": [1]}}',
    "two formats": b'{"inputs": [], "instances": []}',
    "data of no JSON": b'{"data": ["{"]}',
    "data of two widths": b'{"data": ["{\\"a\\": [1.5, 2.5], \\"b\\": 1.5}", "{\\"a\\": 1.5}"]}',
    "data nested in data": b'{"data": ["{\\"data\\": [\\"{}\\"]}"]}',
    "NaN": b'{"inputs": {"a": [NaN], "b": [1.5]}}',
    "Infinity": b'{"inputs": {"a": [-Infinity], "b": [1.5]}}',
    "1e400": b'{"inputs": {"a": [1e400], "b": [1.5]}}',
    "a huge whole number": b'{"inputs": {"a": [1%s], "b": [1.5]}}' % (b"0" * 400),
}


@pytest.mark.parametrize("name", SIGNATURES)
@pytest.mark.parametrize("body", NASTY.values(), ids=NASTY)
def test_nasty_bodies_are_refused(body: bytes, name: str) -> None:
    """None of these bodies is admitted by any signature, and each rejection can be written as JSON."""
    rejection = outcome(Contract(signature_document(SIGNATURES[name])), body)
    assert isinstance(rejection, Rejected)
    assert rejection.status == 400
    assert rejection.rule
    json.dumps(rejection.document(), allow_nan=False).encode()


NESTED = {
    "inputs": b'{"inputs": %s}',
    "instances": b'{"instances": %s}',
    "bare": b"%s",
    "a column": b'{"inputs": {"a": %s, "b": [1]}}',
    "a cell": b'{"dataframe_records": [{"a": %s, "b": 1}]}',
    "rows": b'{"dataframe_split": {"columns": ["a"], "data": %s}}',
    "column names": b'{"dataframe_split": {"columns": %s, "data": [[1]]}}',
    "records": b'{"dataframe_records": %s}',
    "the seed's": b'{"data": ["%s"]}',
    "beside the inputs": b'{"inputs": {"a": [1.5]}, "x": %s}',
    "params": b'{"inputs": {"a": 1.5, "b": 1.5}, "params": {"t": %s}}',
}


@pytest.mark.parametrize("name", SIGNATURES)
@pytest.mark.parametrize("place", NESTED)
def test_deep_nesting_is_refused(place: str, name: str) -> None:
    """Deeper than numpy counts, or as deep as Python and parsers recurse: each is a rejection and nothing else."""
    contract = Contract(signature_document(SIGNATURES[name], PARAMS))
    for depth in (31, 32, 33, 63, 64, 65, 200, *range(980, 1026, 3)):
        for start, leaf, end in ((b"[", b"", b"]"), (b"[", b"1.5", b"]"), (b'{"a":', b"1", b"}")):
            nested = start * depth + leaf + end * depth
            nested = nested.replace(b'"', b'\\"') if place == "the seed's" else nested
            rejection = outcome(contract, NESTED[place] % nested)
            assert isinstance(rejection, Rejected), depth
            assert rejection.rule


@pytest.mark.parametrize("depth", [10, 100, 900, 1010])
def test_deep_params_are_refused(depth: int) -> None:
    """Params nested deeply are refused, not a crash."""
    body = b'{"inputs": {"a": [1.5], "b": [1.5]}, "params": {"t": %s%s}}' % (b"[" * depth, b"]" * depth)
    rejection = outcome(Contract(signature_document(SIGNATURES["doubles"], PARAMS)), body)
    assert isinstance(rejection, Rejected)


def test_fast_way_imports_neither_pandas_nor_mlflow() -> None:
    """A valid request is checked without pandas and MLflow, which cost a worker hundreds of megabytes."""
    program = """
import sys, json
from signet_contract import request, contract
spec = json.dumps([{"type": "double", "name": "a", "required": True}])
contract = contract.Contract({"inputs": spec, "outputs": None, "params": None})
assert contract.check(b'{"a": 1.5}').inputs.tolist() == [[1.5]]
assert not {"pandas", "mlflow", "torch", "ts"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_signature_is_loaded_from_an_mlmodel_file(tmp_path: Path) -> None:
    """`load` reads the signature of an MLmodel file, and says so where there is none."""
    path = tmp_path / "MLmodel"
    path.write_text(json.dumps({"flavors": {}, "signature": signature_document(columns_schema(*TWO))}))
    assert Contract.load(path).check(b'{"a": 1.5, "b": 2.5}').inputs.shape == (1, 2)
    path.write_text("flavors: {}")
    with pytest.raises(ValueError, match="has no signature with inputs"):
        Contract.load(path)
