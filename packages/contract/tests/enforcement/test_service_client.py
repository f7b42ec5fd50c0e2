from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec
from signet_contract import Contract
from signet_contract.decoded_request import UNREAD, DecodedRequest
from signet_contract.enforcement import decision, service, service_client
from signet_contract.errors import DecidedTooLate, Rejected, SignatureMismatch, TooCostly
from signet_contract.model_input import ModelInput
from signet_contract.request import RawBody

from testing.enforcing import service_at
from testing.oracle import columns_schema, signature_document

COLUMNS = signature_document(
    columns_schema(("double", "a"), ("string", "b", False)), ParamSchema([ParamSpec("p", "long", 3)])
)
DOUBLE = signature_document(
    columns_schema(("double", "a")), ParamSchema([ParamSpec("p", "double", 0.5), ParamSpec("most", "double", np.inf)])
)
TENSORS = signature_document(
    Schema([TensorSpec(np.dtype("int64"), (-1,), "a"), TensorSpec(np.dtype("bool"), (-1,), "b")])
)


FEW_BYTES = 256 << 20
"""Of a process's memory: too few for `COSTLY`, and enough for all else."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the service decides."""
    with service_at(tmp_path_factory.mktemp("enforcement") / "enforcement.sock", FEW_BYTES) as address:
        yield address


def outcome(contract: dict[str, Any], decoded: DecodedRequest, timeout_s: float = 50) -> ModelInput | Rejected:
    try:
        return Contract(contract, contract.get("policy", ()), timeout_s=timeout_s).enforce(decoded)
    except Rejected as rejection:
        return rejection


@pytest.mark.parametrize(
    ("contract", "source"),
    [
        (COLUMNS, RawBody(b'{"inputs": {"a": [1.5, 2.5]}, "params": {"p": 4}}')),
        (COLUMNS, RawBody(b'{"a": 1.5}')),
        (COLUMNS, RawBody(b"a\n1.5\n", is_csv=True)),
        (COLUMNS, RawBody(b'{"inputs": {"a": [NaN, 123456789012345678901234567890]}}')),
        (COLUMNS, RawBody(b'{"a": 1.5, "c": "\xc3\xa4"}')),
        (COLUMNS, RawBody(b'{"a": [[1], {}]}')),
        (COLUMNS, RawBody(b'{"inputs": {"a": [%s]}}' % b",".join([b'"x"'] * 50))),
        (COLUMNS | {"policy": ["whole_numbers"]}, RawBody(b'{"a": 4}')),
        (COLUMNS, RawBody(b'{"inputs": {"a": [1.5]}, "params": {"p": 123456789012345678901234567890}}')),
        (DOUBLE | {"policy": ["non_finite"]}, RawBody(b'{"inputs": {"a": [1e400]}, "params": {"p": -Infinity}}')),
        (DOUBLE, RawBody(b'{"inputs": {"a": [1e30]}}')),
        (TENSORS, RawBody(b'{"inputs": {"b": [true], "a": [9007199254740993]}}')),
        (TENSORS, RawBody(b'{"inputs": {"a": [1.5]}}')),
    ],
)
def test_the_service_decides_as_the_worker_would(
    contract: dict[str, Any],
    source: RawBody,
    address: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Model inputs and rejections that come from the service are those of a process that decides by itself."""
    here = outcome(contract, source.decode())
    monkeypatch.setenv(service_client.ADDRESS, str(address))
    there = outcome(contract, source.decode())
    if isinstance(here, Rejected):
        assert isinstance(there, Rejected)
        assert json.dumps(there.document()) == json.dumps(here.document())
        return
    assert isinstance(there, ModelInput)
    assert (there.params, there.framed) == (here.params, here.framed)
    assert type(there.inputs) is type(here.inputs)
    for name, array in (here.inputs if isinstance(here.inputs, dict) else {None: here.inputs}).items():
        other = there.inputs[name] if isinstance(there.inputs, dict) else there.inputs
        assert other.dtype == array.dtype
        np.testing.assert_array_equal(other, array)


OPTIONAL = signature_document(columns_schema(("double", "a", False), ("double", "b", False)))
RECORDS = [{"a": 1.5, "b": None}, {"a": None, "b": 0.5}] * 5000
COLUMN_WISE = {name: [record[name] for record in RECORDS] for name in ("a", "b")}
SPLIT = {"columns": ["a", "b"], "data": [list(record.values()) for record in RECORDS]}


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("change", ["", "null,", '"x"', '"\\n"', "[]", "{}", "}"])
@pytest.mark.parametrize(
    "document",
    [{"dataframe_split": SPLIT}, {"dataframe_records": RECORDS}, {"inputs": COLUMN_WISE}, RECORDS, COLUMN_WISE],
)
def test_a_large_body_is_read_by_who_decides_on_it(
    document: Any, change: str, address: Path, monkeypatch: pytest.MonkeyPatch, *, is_there: bool
) -> None:
    """What can't be read into arrays is not read before, is accepted or rejected as ever, and its answer wrapped."""
    body = json.dumps(document)
    end = body.rindex("0.5")
    body = body[:end] + (change or "0.5") + body[end + 3 :]
    unread = RawBody(body.encode()).decode()
    assert unread.content is UNREAD
    if is_there:
        monkeypatch.setenv(service_client.ADDRESS, str(address))
    found = outcome(OPTIONAL, unread)
    try:
        read = RawBody(body.encode()).exact()
        expected: ModelInput | Rejected = decision.decide(OPTIONAL, read)
    except Rejected as rejection:
        expected = rejection
    if isinstance(expected, Rejected):
        assert change
        assert isinstance(found, Rejected)
        assert found.document() == expected.document()
        return
    assert isinstance(found, ModelInput)
    assert (unread.wrapped, found.framed) == (read.wrapped, expected.framed)
    np.testing.assert_array_equal(found.inputs, expected.inputs)


SPARSE = signature_document(columns_schema(*(("double", f"a{index}", False) for index in range(4000))))
COSTLY = RawBody(json.dumps({"dataframe_records": [{f"a{index}": 1.5} for index in range(4000)]}, indent=1).encode())
"""Of a signature whose columns are all optional, so that a table of 16 million values is made of it."""


def test_what_takes_too_much_memory_is_a_413(address: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that no process has the memory for is refused, and others are decided on meanwhile."""
    monkeypatch.setenv(service_client.ADDRESS, str(address))
    with ThreadPoolExecutor() as pool:
        costly = pool.submit(outcome, SPARSE, COSTLY.decode())
        assert isinstance(outcome(COLUMNS, RawBody(b'{"a": 2}').decode()), SignatureMismatch)
        assert not costly.done()
        rejection = costly.result()
    assert isinstance(rejection, TooCostly)
    assert rejection.status == 413
    assert rejection.message.startswith(
        f"The body has {len(COSTLY.text)} bytes, and to check it against the signature "
    )


def test_memory_has_a_bound_elsewhere_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Linux' bound is not there, such a body is refused as well, and other ones are decided on."""
    monkeypatch.setenv(service_client.ADDRESS, str(tmp_path / "enforcement.sock"))
    with service_at(tmp_path / "enforcement.sock", FEW_BYTES, is_linux=False):
        assert isinstance(outcome(SPARSE, COSTLY.decode()), TooCostly)
        assert isinstance(outcome(COLUMNS, RawBody(b'{"a": 2}').decode()), SignatureMismatch)
        assert isinstance(outcome(COLUMNS, RawBody(b'{"a": 2.5}').decode()), ModelInput)


def test_large_bodies_keep_no_small_one_waiting(address: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many large bodies are asked about, a small one is decided on at once."""
    monkeypatch.setenv(service_client.ADDRESS, str(address))
    with ThreadPoolExecutor(service.MOST + 2) as pool:
        large = [pool.submit(outcome, SPARSE, COSTLY.decode(), 4) for _ in range(service.MOST + 2)]
        assert isinstance(outcome(COLUMNS, RawBody(b'{"a": 2}').decode(), 4), SignatureMismatch)
        assert not all(each.done() for each in large)


def test_a_deadline_ends_a_question(address: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not decided in time is an answer of its own, is not decided elsewhere, and leaves its process free."""
    monkeypatch.setenv(service_client.ADDRESS, str(address))
    for _ in range(service.MOST + 1):
        began = time.monotonic()
        with pytest.raises(DecidedTooLate, match=r"took longer than 0\.5 s\."):
            Contract(SPARSE, timeout_s=0.5).enforce(COSTLY.decode())
        assert time.monotonic() - began < 2
    assert isinstance(outcome(COLUMNS, RawBody(b'{"a": 2}').decode()), SignatureMismatch)


def test_no_service_is_waited_for_longer_than_a_request_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was told of a service never decides instead of it."""
    monkeypatch.setenv(service_client.ADDRESS, str(tmp_path / "nobody.sock"))
    with pytest.raises(DecidedTooLate):
        Contract(COLUMNS, timeout_s=0.5).enforce(RawBody(b'{"a": 2}').decode())


def test_a_service_that_dies_is_asked_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that was open as all processes ended is decided on by the next ones."""
    address = tmp_path / "enforcement.sock"
    monkeypatch.setenv(service_client.ADDRESS, str(address))
    with ThreadPoolExecutor() as pool:
        with service_at(address):
            question = pool.submit(outcome, SPARSE, COSTLY.decode())
            time.sleep(0.5)
            assert not question.done()
        with service_at(address, FEW_BYTES):
            assert isinstance(question.result(), TooCostly)


def test_who_is_told_of_no_service_decides_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a service a process decides by itself."""
    monkeypatch.delenv(service_client.ADDRESS, raising=False)
    assert isinstance(outcome(COLUMNS, RawBody(b'{"a": 2}').decode()), SignatureMismatch)
