from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec
from oracle import columns_schema, signature_document
from signet_torchserve import judge
from signet_torchserve.errors import Refusal
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


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A judge that gives verdicts."""
    address = tmp_path_factory.mktemp("judge") / "judge.sock"
    with subprocess.Popen([sys.executable, "-m", "signet_torchserve.judge", str(address)]) as running:
        deadline = time.monotonic() + 60
        while not address.exists():
            assert time.monotonic() < deadline, "The judge did not start."
            time.sleep(0.1)
        yield address, running
        running.kill()


def outcome(contract: dict[str, Any], payload: Payload) -> Feed | Refusal:
    try:
        return judge.decide(contract, payload)
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
    process: tuple[Path, subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Feeds and refusals that come from the judge are those of a process that decides by itself."""
    here = outcome(contract, source.decode())
    monkeypatch.setenv(judge.ADDRESS, str(process[0]))
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


def test_a_worker_without_a_judge_decides_by_itself(
    process: tuple[Path, subprocess.Popen[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a judge that is not there nor one that dies between two questions costs an answer."""
    source = Source(b'{"a": 2}')
    monkeypatch.setenv(judge.ADDRESS, str(tmp_path / "nobody.sock"))
    assert isinstance(outcome(COLUMNS, source.decode()), Refusal)
    monkeypatch.setenv(judge.ADDRESS, str(process[0]))
    assert isinstance(outcome(COLUMNS, source.decode()), Refusal)
    process[1].kill()
    process[1].wait()
    assert isinstance(outcome(COLUMNS, source.decode()), Refusal)
