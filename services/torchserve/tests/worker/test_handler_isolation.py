"""One request never harms its neighbours: whatever it holds and whatever it makes the worker raise."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mlflow.models import ModelSignature
from models import Formula, Server, body, form, rows
from signet_contract.enforcement import service_client
from signet_torchserve.worker import undecided_requests
from signet_torchserve.worker.undecided_requests import ARE_KEPT
from signet_torchserve.worker.worker_loop import Request

from testing.enforcing import service_at
from testing.oracle import columns_schema

COLUMNS = ["a", "b"]
GOOD = body({"dataframe_split": {"columns": COLUMNS, "data": [[1.5, 2.5]]}})
SLOW = body({"dataframe_split": {"columns": COLUMNS, "data": [["x", "y"]] * 50_000}})


def nested(levels: int, prefix: str = '{"inputs": ', suffix: str = "}") -> Request:
    return body(f"{prefix}{'[' * levels}{']' * levels}{suffix}".encode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked archive of a model that adds two doubles."""
    folder = tmp_path_factory.mktemp("sum")
    signature = ModelSignature(columns_schema(("double", "a"), ("double", "b")))
    model = models.save(folder / "model", Formula(lambda x: x.sum(1)), rows(3, 2), signature)
    return models.unpack(model, folder / "mar")


@pytest.fixture(scope="module")
def server(folder: Path) -> Server:
    return Server(folder)


@pytest.fixture(scope="module")
def tensor_server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("tensor")
    model = models.save(folder / "model", Formula(lambda x: x.sum(1)), rows(3, 2))
    return Server(models.unpack(model, folder / "mar"))


_hostile = st.one_of(
    st.integers(1, 1100).map(nested),
    st.integers(50, 1100).map(lambda levels: nested(levels, '{"dataframe_split": {"columns": ["a"], "data": ', "}}")),
    st.integers(1, 40).map(lambda digits: body(f"a,b\n1.5,{10**digits}\n".encode(), "text/csv")),
    st.integers(1, 400).map(lambda digits: body(f'{{"inputs": {{"a": [1e{digits}], "b": [{10**digits}]}}}}'.encode())),
    st.binary(max_size=200).map(body),
    st.binary(max_size=200).map(lambda raw: body(b"a,b\n" + raw, "text/csv")),
    st.dictionaries(st.text(max_size=5), st.binary(max_size=50), max_size=3).map(form),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "inputs"]), inner),
        max_leaves=8,
    ).map(body),
)


@given(batch=st.lists(_hostile | st.just(GOOD), min_size=2, max_size=8))
@pytest.mark.parametrize("kind", ["server", "tensor_server"])
def test_good_requests_among_hostile_ones_are_answered(
    kind: str, batch: list[Request], request: pytest.FixtureRequest
) -> None:
    """Whatever shares its batch, a good request is answered right, and a hostile one gets an error of its own."""
    server: Server = request.getfixturevalue(kind)
    good = GOOD if kind == "server" else body({"inputs": [[1.5, 2.5]]})
    predictions = [{"0": 4.0}] if kind == "server" else [4.0]
    batch = [good if each is GOOD else each for each in batch]
    answers = server.answer(*batch)
    for request_, answer in zip(batch, answers, strict=True):
        if request_ is good:
            assert (answer.status, answer.json()) == (200, {"predictions": predictions})
        elif answer.status != 200:
            assert answer.status == answer.json()["code"]
            assert 400 <= answer.status < 600


class Raises:
    """A part of a handler that raises at inputs beyond 1,000, and else does what it did."""

    def __init__(self, part: Any, error: Exception) -> None:
        self.part = part
        self.error = error

    def _checked(self, value: Any) -> None:
        if np.max(value) > 1000:
            raise self.error

    def decide_fast(self, decoded: Any) -> Any:
        self._checked(decoded.content["data"])
        return self.part.decide_fast(decoded)

    def run(self, model_inputs: list[Any]) -> Any:
        for model_input in model_inputs:
            self._checked(model_input.inputs)
        return self.part.run(model_inputs)

    def __iter__(self) -> Iterator[int]:
        return iter(range(10_000))

    def get(self, index: int) -> str:
        self._checked(index)
        return str(index)


@pytest.mark.parametrize("part", ["contract", "program", "labels"])
@pytest.mark.parametrize(
    "error", [RecursionError(), RuntimeError("inside"), KeyError("inside"), MemoryError(), ZeroDivisionError("inside")]
)
def test_whatever_a_request_raises_is_its_own_500(
    part: str, error: Exception, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exception in check, run or write costs one request; its message tells nothing of the inside, the log all."""
    signature = ModelSignature(columns_schema(("double", "a"), ("double", "b")))
    module = Formula(lambda x: x.sum(1).to(torch.int64))
    server = Server(models.unpack(models.save(tmp_path / "model", module, rows(3, 2), signature), tmp_path / "mar"))
    good = body({"dataframe_split": {"columns": COLUMNS, "data": [[1.5, 2.5]]}})
    bad = replace(body({"dataframe_split": {"columns": COLUMNS, "data": [[5000.5, 2.5]]}}), identifier=b"the-bad-one")
    setattr(server.handler, part, Raises(getattr(server.handler, part), error))
    answers = server.answer(good, bad, good)
    assert [answer.status for answer in answers] == [
        200,
        507 if (part, type(error)) == ("program", MemoryError) else 500,
        200,
    ]
    failure = answers[1].json()
    assert failure.keys() == {"code", "type", "message", "model", "version"}
    assert "inside" not in failure["message"]
    log = capsys.readouterr().err
    assert "Request the-bad-one failed so." in log
    if answers[1].status == 500:
        assert "the-bad-one" in failure["message"]
        assert type(error).__name__ in log


def test_an_answer_that_torchserve_would_not_take_is_one_failure(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client of an answer beyond max_response_size gets both sizes; its neighbours get their answers."""
    config = tmp_path / "config.properties"
    config.write_text("max_response_size=100\n")
    monkeypatch.setenv("TS_CONFIG_FILE", str(config))
    server = Server(folder)
    large = body({"dataframe_split": {"columns": COLUMNS, "data": [[1.5, 2.5]] * 50}})
    answers = server.answer(GOOD, large, GOOD)
    assert [answer.status for answer in answers] == [200, 507, 200]
    assert answers[1].json()["message"] == (
        "The answer has 517 bytes, and at most 100 can be sent (max_response_size): ask for fewer rows at once."
    )


@pytest.fixture(scope="module")
def deciding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with service_at(tmp_path_factory.mktemp("enforcement") / "enforcement.sock") as address:
        yield address


def test_good_requests_do_not_wait_for_undecided_ones(
    server: Server, deciding: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch is answered at once but for what enforcement decides on, which is answered when that is decided."""
    monkeypatch.setenv(service_client.ADDRESS, str(deciding))
    good, slow = replace(GOOD, identifier=b"good"), replace(SLOW, identifier=b"slow")
    answer, undecided = server.handler.answer([good, slow])
    assert answer is not None
    assert (answer.status, undecided) == (200, None)
    named_again = Request(b"slow", {})
    while (decided := server.handler.answer([named_again])[0]) is None:
        answer, _ = server.handler.answer([good, named_again])
        assert answer is not None
        assert answer.status == 200
    assert decided.status == 400
    assert not server.handler.undecided


def test_a_batch_waits_for_its_decisions_where_torchserve_keeps_none(
    folder: Path, deciding: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a request can't be asked for again, each of its batch has its answer, the same as elsewhere."""
    monkeypatch.setenv(service_client.ADDRESS, str(deciding))
    monkeypatch.setenv(ARE_KEPT, "false")
    answers = Server(folder).answer(GOOD, replace(SLOW, identifier=b"slow"), GOOD, replace(SLOW, identifier=b"other"))
    assert [answer.status for answer in answers] == [200, 400, 200, 400]
    assert answers[1].json()["errors"][0]["rule"] == "type"


def test_what_enforcement_rejects_is_remembered(
    server: Server, deciding: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body that is wrong in the same way as one before it is refused at once, and enforcement is not asked."""
    monkeypatch.setenv(service_client.ADDRESS, str(deciding))
    first, second = (
        replace(body({"dataframe_split": {"columns": ["a", "c"], "data": [[value, 2.5]]}}), identifier=identifier)
        for value, identifier in ((1.5, b"first"), (3.5, b"second"))
    )
    monkeypatch.setattr(undecided_requests, "WAIT_S", 0)  # the decision may come sooner than that
    assert server.handler.answer([first]) == [None]
    while (refused := server.handler.answer([Request(b"first", {})])[0]) is None:
        time.sleep(0.01)
    monkeypatch.setenv(service_client.ADDRESS, "nowhere")
    assert server.handler.answer([second]) == [refused]


def test_who_is_gone_is_forgotten(server: Server, deciding: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An undecided request that TorchServe names no more is not kept."""
    monkeypatch.setenv(service_client.ADDRESS, str(deciding))
    assert server.handler.answer([replace(SLOW, identifier=b"slow")]) == [None]
    assert server.handler.answer([GOOD])[0] is not None
    assert not server.handler.undecided
