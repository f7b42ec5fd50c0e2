from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judging import judges_at
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec
from oracle import columns_schema, signature_document
from signet_torchserve import judge, judges, verdict
from signet_torchserve.errors import DecidedTooLate, Refusal, SignatureMismatch, TooCostly
from signet_torchserve.feed import Feed
from signet_torchserve.payload import Payload, Source

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
"""Of a judge's memory: too few for `COSTLY`, and enough for all else."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where judges judge."""
    with judges_at(tmp_path_factory.mktemp("judge") / "judge.sock", FEW_BYTES) as address:
        yield address


def outcome(contract: dict[str, Any], payload: Payload, timeout_s: float = 50) -> Feed | Refusal:
    try:
        return judge.decide(contract, payload, timeout_s)
    except Refusal as refusal:
        return refusal


@pytest.mark.parametrize(
    ("contract", "source"),
    [
        (COLUMNS, Source(b'{"inputs": {"a": [1.5, 2.5]}, "params": {"p": 4}}')),
        (COLUMNS, Source(b'{"a": 1.5}', is_form=True)),
        (COLUMNS, Source(b"a\n1.5\n", is_csv=True)),
        (COLUMNS, Source(b'{"inputs": {"a": [NaN, 123456789012345678901234567890]}}')),
        (COLUMNS, Source(b'{"a": 1.5, "c": "\xc3\xa4"}')),
        (COLUMNS, Source(b'{"a": [[1], {}]}')),
        (COLUMNS, Source(b'{"inputs": {"a": [%s]}}' % b",".join([b'"x"'] * 50))),
        (COLUMNS | {"allow": ["whole_numbers"]}, Source(b'{"a": 4}')),
        (COLUMNS, Source(b'{"inputs": {"a": [1.5]}, "params": {"p": 123456789012345678901234567890}}')),
        (DOUBLE | {"allow": ["non_finite"]}, Source(b'{"inputs": {"a": [1e400]}, "params": {"p": -Infinity}}')),
        (DOUBLE, Source(b'{"inputs": {"a": [1e30]}}')),
        (TENSORS, Source(b'{"inputs": {"b": [true], "a": [9007199254740993]}}')),
        (TENSORS, Source(b'{"inputs": {"a": [1.5]}}')),
    ],
)
def test_the_judge_decides_as_the_worker_would(
    contract: dict[str, Any],
    source: Source,
    address: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Feeds and refusals that come from the judge are those of a process that decides by itself."""
    here = outcome(contract, source.decode())
    monkeypatch.setenv(judge.ADDRESS, str(address))
    there = outcome(contract, source.decode())
    if isinstance(here, Refusal):
        assert isinstance(there, Refusal)
        assert json.dumps(there.as_document()) == json.dumps(here.as_document())
        return
    assert isinstance(there, Feed)
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
    """What can't be read into arrays is not read before; it is fed or refused, and its answer wrapped, as ever."""
    body = json.dumps(document)
    end = body.rindex("0.5")
    body = body[:end] + (change or "0.5") + body[end + 3 :]
    unread = Source(body.encode()).decode()
    assert unread.content is None
    if is_there:
        monkeypatch.setenv(judge.ADDRESS, str(address))
    found = outcome(OPTIONAL, unread)
    try:
        read = Source(body.encode()).exact()
        expected: Feed | Refusal = verdict.decide(OPTIONAL["inputs"], None, None, read)
    except Refusal as refusal:
        expected = refusal
    if isinstance(expected, Refusal):
        assert change
        assert isinstance(found, Refusal)
        assert found.as_document() == expected.as_document()
        return
    assert isinstance(found, Feed)
    assert (unread.wrapped, found.framed) == (read.wrapped, expected.framed)
    np.testing.assert_array_equal(found.inputs, expected.inputs)


SPARSE = signature_document(columns_schema(*(("double", f"a{index}", False) for index in range(4000))))
COSTLY = Source(json.dumps({"dataframe_records": [{f"a{index}": 1.5} for index in range(4000)]}, indent=1).encode())
"""Of a signature whose columns are all optional, so that a table of 16 million values is made of it."""


def test_what_takes_too_much_memory_is_a_413(address: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that no judge has the memory for is refused, and others are decided on meanwhile."""
    monkeypatch.setenv(judge.ADDRESS, str(address))
    with ThreadPoolExecutor() as pool:
        costly = pool.submit(outcome, SPARSE, COSTLY.decode())
        assert isinstance(outcome(COLUMNS, Source(b'{"a": 2}').decode()), SignatureMismatch)
        assert not costly.done()
        refusal = costly.result()
    assert isinstance(refusal, TooCostly)
    assert refusal.status == 413
    assert refusal.message.startswith(f"The body has {len(COSTLY.text)} bytes, and to check it against the signature ")


def test_large_bodies_keep_no_small_one_waiting(address: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many large bodies are asked about, a small one is decided on at once."""
    monkeypatch.setenv(judge.ADDRESS, str(address))
    with ThreadPoolExecutor(judges.MOST + 2) as pool:
        large = [pool.submit(outcome, SPARSE, COSTLY.decode(), 4) for _ in range(judges.MOST + 2)]
        assert isinstance(outcome(COLUMNS, Source(b'{"a": 2}').decode(), 4), SignatureMismatch)
        assert not all(each.done() for each in large)


def test_a_deadline_ends_a_question(address: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not decided in time is an answer of its own, is not decided elsewhere, and leaves its judge free."""
    monkeypatch.setenv(judge.ADDRESS, str(address))
    for _ in range(judges.MOST + 1):
        began = time.monotonic()
        with pytest.raises(DecidedTooLate, match=r"took longer than 0\.5 s\."):
            judge.decide(SPARSE, COSTLY.decode(), 0.5)
        assert time.monotonic() - began < 2
    assert isinstance(outcome(COLUMNS, Source(b'{"a": 2}').decode()), SignatureMismatch)


def test_no_judge_is_waited_for_longer_than_a_request_may_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was told of judges never decides in their place."""
    monkeypatch.setenv(judge.ADDRESS, str(tmp_path / "nobody.sock"))
    with pytest.raises(DecidedTooLate):
        judge.decide(COLUMNS, Source(b'{"a": 2}').decode(), 0.5)


def test_judges_that_die_are_asked_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that was open as all judges ended is decided on by the next ones."""
    address = tmp_path / "judge.sock"
    monkeypatch.setenv(judge.ADDRESS, str(address))
    with ThreadPoolExecutor() as pool:
        with judges_at(address):
            question = pool.submit(outcome, SPARSE, COSTLY.decode())
            time.sleep(0.5)
            assert not question.done()
        with judges_at(address, FEW_BYTES):
            assert isinstance(question.result(), TooCostly)


def test_who_is_told_of_no_judges_decides_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without judges, as in run-local, a process decides by itself."""
    monkeypatch.delenv(judge.ADDRESS, raising=False)
    assert isinstance(outcome(COLUMNS, Source(b'{"a": 2}').decode()), SignatureMismatch)
