"""What a worker is asked before it serves."""

from __future__ import annotations

import logging
import re
import threading
import time
from pathlib import Path

import pytest
import torch
from models import Formula, Server, rows, save, unpack
from signet_contract.model_input import ModelInput
from signet_torchserve.model.program import Program
from signet_torchserve.worker import warm_up


@pytest.mark.parametrize(
    ("batch_size", "fails_at", "asked"),
    [
        (32, None, [1, 8, 32]),
        (1, None, [1]),
        (5, None, [1, 5]),
        (64, None, [1, 8, 32, 64]),
        (1024, None, [1, 8, 32, 1024]),
        (32, 1, [1]),
        (32, 8, [1, 8]),
    ],
)
def test_batches_of_each_size_are_asked_for(batch_size: int, fails_at: int | None, asked: list[int]) -> None:
    """Up to the largest, several times each; after one that is not answered none is."""
    sizes = list[int]()

    def is_answered(size: int) -> bool:
        sizes.append(size)
        return size != fails_at

    warm_up.answer_batches(is_answered, batch_size)
    assert sorted(set(sizes)) == asked
    assert sizes.count(1) > 1 or fails_at == 1


def test_what_takes_long_is_asked_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither again and again, nor for batches that would take as many times as long."""
    monkeypatch.setattr(warm_up, "_BATCHES_S", 0.02)
    sizes = list[int]()

    def is_answered(size: int) -> bool:
        sizes.append(size)
        time.sleep(0.03)
        return True

    warm_up.answer_batches(is_answered, 32)
    assert sizes == [1]


def test_a_worker_has_answered_before_its_first_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Batches of its golden request, of every size, none of which is counted."""
    batches = list[int]()
    run = Program.run

    def counted(program: Program, model_inputs: list[ModelInput]) -> list[object]:
        batches.append(len(model_inputs))
        return run(program, model_inputs)

    monkeypatch.setattr(Program, "run", counted)
    caplog.set_level(logging.INFO, logger="ts.metrics")
    model = save(tmp_path / "model", Formula(lambda x: x @ torch.ones(2, 1)), rows(3, 2))
    server = Server(unpack(model, tmp_path / "served"))
    server.handler.metrics.publish()
    assert {1, 8, 32} <= set(batches)
    # What other threads publish is of servers of earlier tests.
    told = [record.getMessage() for record in caplog.records if record.threadName == threading.current_thread().name]
    counts = [re.search(r"signet_predictions_total.*?:([\d.]+)\|", text) for text in told]
    assert {float(count[1]) for count in counts if count} == {0}
