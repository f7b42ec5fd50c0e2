from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from fast_and_slow import MISSING, SIGNATURES, TWO, UNSAFE, columns, outcome, signature
from signet_contract.contract import Contract
from signet_contract.errors import MAX_VIOLATIONS, Rejected
from signet_contract.model_input import ModelInput

from testing.oracle import signature_document


@pytest.mark.parametrize(
    ("specs", "body", "message", "rules"),
    [
        (TWO, columns(c=[1.5]), f"{MISSING} Note that there were extra inputs: ['c'].", ["columns"] * 3),
        (
            TWO,
            columns(z=[1.5], y=[1.5], x=[1.5]),
            f"{MISSING} Note that there were extra inputs: ['z', 'y', 'x'].",
            None,
        ),
        (TWO, columns(a=[1.5]), "Model is missing inputs ['b'].", ["columns"]),
        (TWO, columns(a=[1.5], b=[1.5], c=[1]), "Model has no inputs ['c']: extra inputs are refused.", ["columns"]),
        (TWO, columns(a=[5], b=[2]), f"{UNSAFE} int64 to float64.", ["type", "type"]),
        (
            TWO,
            columns(a=[1.5, None], b=[1.5, 1.5]),
            "Column a is required and has null in row 1: expected double.",
            ["null"],
        ),
        (TWO, columns(a=[1.5, "3.5"], b=[1.5, 1.5]), "Column a has string in row 1: expected double.", ["type"]),
        (TWO, columns(a=[1.5, True], b=[1.5, 1.5]), "Column a has boolean in row 1: expected double.", ["type"]),
        (
            TWO,
            b'{"inputs": {"a": [1e400], "b": [1.5]}}',
            "Column a has inf in row 0: expected a finite number.",
            ["finite"],
        ),
        (
            TWO,
            b'{"inputs": {"a": [NaN], "b": [-Infinity]}}',
            "Column a is required and has null in row 0: expected double.",
            ["null", "finite"],
        ),
        (TWO, columns(a=[], b=[]), "The input is empty: at least one row is expected.", ["empty"]),
        ((("long", "a"),), columns(a=[1, 2.0]), f"{UNSAFE} float64 to int64.", ["type", "type"]),
        ((("long", "a"),), columns(a=[2**63]), f"{UNSAFE} uint64 to int64.", ["type"]),
        ((("long", "a"),), columns(a=[2**64]), f"{UNSAFE} object to int64.", ["type"]),
        ((("double", "a"),), columns(a=[2**63]), f"{UNSAFE} uint64 to float64.", ["type"]),
        ((("integer", "a"),), columns(a=[1.5]), f"{UNSAFE} float64 to int32.", ["type"]),
        ((("integer", "a"),), columns(a=[2**31]), f"{UNSAFE} int64 to int32.", ["type"]),
        ((("float", "a"),), columns(a=[1e39]), f"{UNSAFE} float64 to float32.", ["type"]),
        ((("boolean", "a"),), columns(a=[1]), f"{UNSAFE} int64 to bool.", ["type"]),
        ((("string", "a"),), columns(a=[1, "b"]), "Column a has int64 in row 0: expected string.", ["type"]),
        ((("datetime", "a"),), columns(a=["today-ish"]), f"{UNSAFE} str to datetime64[ns].", ["type"]),
        (
            (("double", "a"),),
            columns(a=[1.5, 1e39, -1e39]),
            "Column a has 1e+39 in row 1: expected a finite number in float32.",
            ["finite", "finite"],
        ),
        (
            (("string", "a"),),
            columns(a=["1.5", "nan", "-1e400"]),
            "Column a has 'nan' in row 1: expected a finite number in float32.",
            ["finite", "finite"],
        ),
        (
            (("string", "a", False), ("double", "b")),
            columns(a=[None, "1e39"], b=[1.5, 1.5]),
            "Column a has '1e39' in row 1: expected a finite number in float32.",
            ["finite"],
        ),
        (
            (("binary", "a"),),
            columns(a=["bmFu"]),
            "Column a has 'bmFu' in row 0: expected a finite number in float32.",
            ["finite"],
        ),
    ],
)
def test_rejections_say_what_mlflow_says(
    specs: tuple[Any, ...], body: bytes, message: str, rules: list[str] | None
) -> None:
    """A rejection has MLflow's message where MLflow refuses, and an entry for each violation, with its rule."""
    rejection = outcome(signature(*specs), body)
    assert isinstance(rejection, Rejected)
    assert rejection.message == message
    assert rules is None or [violation.rule for violation in rejection.violations] == rules


@pytest.mark.parametrize(
    ("specs", "body", "expected"),
    [
        ((("double", "a"),), columns(a=[1.5, 2]), [[1.5], [2.0]]),
        ((("double", "a"),), columns(a=[0, 1]), [[0.0], [1.0]]),
        ((("double", "a", False),), columns(a=[1.5, None]), [[1.5], [np.nan]]),
        ((("double", "a"), ("double", "b", False)), columns(a=[1.5]), [[1.5, np.nan]]),
        ((("integer", "a"),), columns(a=[2.0, 3]), [[2.0], [3.0]]),
        ((("float", "a"),), columns(a=[3, 2.5]), [[3.0], [2.5]]),
        ((("boolean", "a"), ("long", "b")), columns(a=[True], b=[7]), [[1.0, 7.0]]),
        ((("double", "data"),), b'{"data": [1.5, 2.5]}', [[1.5], [2.5]]),
        ((("double", "data"),), b'{"inputs": {"data": [1.5]}}', [[1.5]]),
        ((("double", "inputs"),), b'[{"inputs": 1.5}]', [[1.5]]),
        ((("double", "inputs"),), b'{"inputs": {"inputs": [1.5]}}', [[1.5]]),
        ((("double", "a"),), columns(a=[2**64]), [[2.0**64]]),
        ((("double", "a"),), b'{"a": 1.5, "a": 2.5}', [[2.5]]),
        (
            (("double", "a"),),
            b'{"dataframe_split": {"columns": ["a"], "data": [[1.5], [2.5]], "index": [7, 7]}}',
            [[1.5], [2.5]],
        ),
        ((("double", None), ("double", None)), b'{"dataframe_split": {"data": [[1.5, 2.5]]}}', [[1.5, 2.5]]),
        ((("double", None), ("double", None)), b'{"inputs": [[1.5, 2.5]]}', [[1.5, 2.5]]),
    ],
)
def test_admitted_values_become_the_model_input(specs: tuple[Any, ...], body: bytes, expected: list[Any]) -> None:
    """What the signature admits becomes float32, as pyfunc does."""
    model_input = outcome(signature(*specs), body)
    assert isinstance(model_input, ModelInput), model_input.message
    assert isinstance(model_input.inputs, np.ndarray)
    assert model_input.inputs.dtype == np.float32
    np.testing.assert_array_equal(model_input.inputs, np.array(expected, np.float32))


def test_every_problem_is_listed_up_to_twenty() -> None:
    """A rejection lists at most 20 violations with row, column, rule, expected and got, and counts the rest."""
    rejection = outcome(signature(("double", "a")), columns(a=["x"] * 50))
    assert isinstance(rejection, Rejected)
    body = rejection.document(model="iris", version="3")
    assert body["code"] == 400
    assert body["type"] == "MlflowException"
    assert body["message"] == f"{UNSAFE} str to float64."
    assert body["errors"] == [
        {"row": row, "column": "a", "rule": "type", "expected": "double", "got": "string"}
        for row in range(MAX_VIOLATIONS)
    ]
    assert body["more_errors"] == 30
    assert (body["model"], body["version"]) == ("iris", "3")


@pytest.mark.parametrize("cell", ["1" + "0" * 20, "-1" + "0" * 20, "9" * 400, "1e400", "18446744073709551616.5"])
@pytest.mark.parametrize("name", SIGNATURES)
def test_csv_of_huge_numbers_is_accepted_or_rejected(name: str, cell: str) -> None:
    """A number that no parser of ours can hold is for pandas to read."""
    contract = Contract(signature_document(SIGNATURES[name]))
    for text in (f"a,b\n{cell},1\n", f"a,b\n1,2\n1,{cell}\n", f"a\n{cell}\n"):
        outcome(contract, text.encode(), "text/csv")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ('{"data": [[1.5, 2.5]]}', f"{MISSING} Note that there were extra inputs: [0, 1]."),
        (f'{{"columns": [{10**30}, null], "data": [[1.5, 2.5]]}}', MISSING),
        ('{"columns": [["a"], ["b"]], "data": [[1.5, 2.5]]}', "Invalid input."),
        ('{"columns": ["a", "a"], "data": [[1.5, 2.5]]}', "The input has columns more than once: ['a']."),
        ('{"columns": ["a"], "data": [[1.5, 2.5]]}', "Invalid input. Provided dataframe_split field is not a valid"),
    ],
)
def test_odd_column_names_are_refused(split: str, message: str) -> None:
    """Names that JSON allows and a signature does not are listed, however odd they are."""
    rejection = outcome(signature(*TWO), b'{"dataframe_split": %s}' % split.encode())
    assert isinstance(rejection, Rejected)
    assert rejection.message.startswith(message)
    json.dumps(rejection.document(), allow_nan=False)


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ("a,b\n1,x\n", "Failed to parse input as a Pandas DataFrame."),
        ("a,b\n1,\n", "Column b is required and has null in row 0: expected double."),
        ("a,b\n1\n", "Column b is required and has null in row 0: expected double."),
        ("a,b\n1,2,3\n", "The csv cannot be read as rows and columns: a row has more cells than the header."),
        ("a,b\ntrue,1\nFALSE,2\n", "Incompatible input types for column a. Can not safely convert bool to float64."),
        ("a,b\n,1\ntrue,2\n", "Column a is required and has null in row 0: expected double."),
        ("a,b\n0,1,2\n1,3,4\n", "The csv cannot be read as rows and columns: a row has more cells than the header."),
        ("a,b\n8,1,2\n5,3,4\n", "The csv cannot be read as rows and columns: a row has more cells than the header."),
        ("a,b\n1,2,\n3,4,\n", "The csv cannot be read as rows and columns: a row has more cells than the header."),
        ("a,b,c\n1,2,3\n", "Model has no inputs ['c']: extra inputs are refused."),
        ("a\n1\n", "Model is missing inputs ['b']."),
        ("a,b\n", "The input is empty"),
        ("a,b\ninf,1\n", "Column a has inf in row 0: expected a finite number."),
        ('a,b\n"1,2\n', "Failed to parse input as a Pandas DataFrame."),
        ("a,a\n1,2\n", "Model is missing inputs ['b']"),
    ],
)
def test_csv_is_refused_where_it_does_not_fit(csv: str, message: str) -> None:
    """CSV is read by the signature's types; a cell, a row or a header that does not fit is refused."""
    rejection = outcome(signature(*TWO), csv.encode(), "text/csv; charset=utf-8")
    assert isinstance(rejection, Rejected)
    assert rejection.message.startswith(message)


@pytest.mark.parametrize(
    ("split", "reason"),
    [
        ({"columns": ["a"], "data": [{"a": 1.5, "b": 2.5}]}, "'data' has ['b'], and 'columns' has not."),
        ({"columns": {"a": 0}, "data": [{"a": 1.5}, {"b": 2.5}]}, "'data' has ['b'], and 'columns' has not."),
        (
            {"columns": ["a", "b"], "data": [{"a": 1.5, "z": 1, "c": 1}]},
            "'data' has ['c', 'z'], and 'columns' has not.",
        ),
        ({"columns": ["a"], "data": {"a": [1.5], "b": [2.5]}}, "'data' has ['b'], and 'columns' has not."),
        (
            {"columns": ["a"], "data": {"a": {"0": 1.5, "1": 2.5}}, "index": ["0"]},
            "'data' is an object, of which 'index' would choose rows.",
        ),
    ],
)
def test_nothing_is_dropped_from_objects_in_a_split(split: Any, reason: str) -> None:
    """Pandas would drop a value that the client has sent, or a whole row."""
    contract = signature(("double", "a"), ("double", "b", False))
    for rows in (1, 4000):
        if isinstance(split["data"], list):
            split = {**split, "data": split["data"] * rows}
        with pytest.raises(Rejected) as caught:
            contract.check(json.dumps({"dataframe_split": split}).encode())
        assert caught.value.message == f"The dataframe_split cannot be read as rows and columns: {reason}"


@pytest.mark.parametrize("labels", [0, 2, 5000])
@pytest.mark.parametrize("data", [[[1.5, 2.5]], [], [{"a": 1.5, "b": 2.5}], [{}], 1.5], ids=repr)
@pytest.mark.parametrize(
    "columns", [(("double", "a"), ("double", "b")), (("double", "a", False), ("double", "b", False))]
)
def test_an_index_makes_no_rows_and_drops_none(columns: Any, data: Any, labels: int) -> None:
    """Pandas would repeat the only row for each label, or make rows of nulls."""
    split = {"columns": ["a", "b"], "index": list(range(labels)), "data": data}
    rows = len(data) if isinstance(data, list) else 1
    rejection = outcome(signature(*columns), json.dumps({"dataframe_split": split}).encode())
    assert isinstance(rejection, Rejected)
    if labels != rows:
        assert f"'index' has labels for {labels} rows, and 'data' has {rows}" in rejection.message


def test_objects_in_a_split_are_rows_by_name() -> None:
    """As pandas takes them, where `columns` names all that they hold."""
    contract = signature(("double", "a"), ("double", "b", False))
    split = {"columns": ["b", "a"], "data": [{"a": 1.5, "b": 2.5}, {"a": 3.5}]}
    model_input = contract.check(json.dumps({"dataframe_split": split}).encode())
    np.testing.assert_array_equal(model_input.inputs, [[1.5, 2.5], [3.5, np.nan]])


@pytest.mark.parametrize("part", ["columns", "index"])
def test_labels_of_many_levels_are_refused(part: str) -> None:
    """Pandas reads them, and would take a minute for as many as a body has room for."""
    split = {"columns": ["a", "b"], "data": [[1.5, 1.5]], part: [[1]] * 100_000}
    rejection = outcome(signature(*TWO), json.dumps({"dataframe_split": split}).encode())
    assert isinstance(rejection, Rejected)
    assert f"'{part}' has 100000 lists in the place of labels" in rejection.message
