"""What a worker counts, read from the lines that it writes for TorchServe."""

import logging
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from models import NAME, Formula, Server, body, declared_metrics, save, unpack
from signet_contract.errors import RULES
from signet_torchserve.server.launch import METRICS_CONFIG
from signet_torchserve.worker.metrics import BUCKETS, Metrics, Tally
from ts.context import Context

# org.pytorch.serve.metrics.Metric's, which is what TorchServe understands.
_LINE = re.compile(
    r"\[METRICS]\s*([\w\s]+)\.([\w\s]+):([0-9\-,.e]+)\|#([^|]*)(\|#type:([^|,]+))?\|#hostname:([^,]+),([^,]+)(,(.*))?"
)
LABELS = f"model:{NAME},version:7"


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], dict[str, float]]:
    """What TorchServe has been told so far: each series' sum, by name and labels."""
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):  # of a worker of another test, which has counted but not told yet
            thread.join()
    caplog.set_level(logging.INFO, logger="ts.metrics")

    def read() -> dict[str, float]:
        sums: dict[str, float] = {}
        for record in caplog.records:
            match = _LINE.fullmatch(record.getMessage())
            assert match, record.getMessage()
            series = f"{match[1]}{{{match[4]}}}"
            if match[6] == "GAUGE":
                assert series == f"signet_worker_memory_bytes{{{LABELS}}}"
                continue
            assert match[6] == "COUNTER"
            sums[series] = sums.get(series, 0) + float(match[3])
        return sums

    return read


def _worker() -> Metrics:
    """A worker's metrics, of the model's version 7."""
    return Metrics(Context(NAME, "", {}, 32, None, "0.12.0", metrics=declared_metrics()), "7")


def test_all_stand_at_zero(told: Callable[[], dict[str, float]]) -> None:
    """A loaded worker has every series, so that a rate is right from its first request on."""
    _worker()
    series = told()
    assert set(series.values()) == {0}
    assert [name for name in series if "rule:" in name] == [
        f"signet_rejections_total{{{LABELS},rule:{rule}}}" for rule in RULES
    ]
    declared = yaml.safe_load(METRICS_CONFIG.read_text())["model_metrics"]["counter"]
    assert {name.partition("{")[0] for name in series} == {metric["name"] for metric in declared}


def test_count(told: Callable[[], dict[str, float]]) -> None:
    """Batches add up, and what was undecided took longer; a bucket holds the requests of all faster batches too."""
    metrics = _worker()
    metrics.count(0.0004, Tally([1, 30], ["type", "type", "columns"]))
    metrics.count(0.1, Tally([], ["format"], failed=1, waited=[0.2]))
    metrics.publish()
    counted = {name: value for name, value in told().items() if value}
    assert counted == {
        f"signet_predictions_total{{{LABELS}}}": 2,
        f"signet_rows_total{{{LABELS}}}": 31,
        f"signet_rejections_total{{{LABELS},rule:columns}}": 1,
        f"signet_rejections_total{{{LABELS},rule:type}}": 2,
        f"signet_rejections_total{{{LABELS},rule:format}}": 1,
        **{
            f"signet_latency_seconds_bucket{{{LABELS},le:{bound}}}": 5
            for bound in ("0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05")
        },
        f"signet_failures_total{{{LABELS}}}": 1,
        f"signet_latency_seconds_bucket{{{LABELS},le:0.1}}": 6,
        f"signet_latency_seconds_bucket{{{LABELS},le:0.25}}": 6,
        f"signet_latency_seconds_bucket{{{LABELS},le:1}}": 7,
        f"signet_latency_seconds_bucket{{{LABELS},le:+Inf}}": 7,
        f"signet_latency_seconds_sum{{{LABELS}}}": pytest.approx(0.0004 * 5 + 0.1 * 2 + 0.2),
        f"signet_latency_seconds_count{{{LABELS}}}": 7,
    }


def test_a_bound_is_within_its_bucket(told: Callable[[], dict[str, float]]) -> None:
    """`le` means less or equal."""
    metrics = _worker()
    metrics.count(BUCKETS[0], Tally([1], []))
    metrics.publish()
    assert told()[f"signet_latency_seconds_bucket{{{LABELS},le:0.0001}}"] == 1


def test_publishes_by_itself(told: Callable[[], dict[str, float]], caplog: pytest.LogCaptureFixture) -> None:
    """A thousand batches are told once, and also when no other request follows."""
    metrics = _worker()
    before = len(caplog.records)
    for _ in range(1000):
        metrics.count(0.001, Tally([1], []))
    assert len(caplog.records) == before
    deadline = time.monotonic() + 10
    while told()[f"signet_latency_seconds_count{{{LABELS}}}"] < 1000:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert told()[f"signet_predictions_total{{{LABELS}}}"] == 1000
    assert len(caplog.records) < before + 30


def test_nothing_new_is_nothing_told(caplog: pytest.LogCaptureFixture) -> None:
    """An idle worker writes nothing."""
    metrics = _worker()
    caplog.clear()
    metrics.publish()
    assert caplog.records == []


def test_memory_is_told_now_and_then(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a worker is loaded, and again after a while, if it has requests."""
    told = _memory(caplog)
    metrics = _worker()
    assert len(told()) == 1
    assert told()[0] > 1 << 20
    metrics.publish()
    assert len(told()) == 1
    monkeypatch.setattr("signet_torchserve.worker.metrics.MEMORY_INTERVAL_S", 0)
    metrics.publish()
    assert len(told()) == 2


def _memory(caplog: pytest.LogCaptureFixture) -> Callable[[], list[float]]:
    caplog.set_level(logging.INFO, logger="ts.metrics")

    def read() -> list[float]:
        matches = [_LINE.fullmatch(record.getMessage()) for record in caplog.records]
        return [float(match[3]) for match in matches if match and match[1] == "signet_worker_memory_bytes"]

    return read


def test_handler(tmp_path: Path, told: Callable[[], dict[str, float]]) -> None:
    """A mixed batch is counted as it is answered, under the version that the archive has."""
    signature = ModelSignature(inputs=Schema([ColSpec("double", "a")]))
    model = save(tmp_path / "model", Formula(lambda x: x * 2), np.ones((2, 1), np.float32), signature)
    server = Server(unpack(model, tmp_path / "served"))
    server.answer(
        body(b'{"dataframe_split": {"columns": ["a"], "data": [[1.5], [2.5]]}}'),
        body(b'{"a": "a secret"}'),
        body(b'{"secret": 1.5}'),
        body(b"{"),
        body(b'{"a": 1.5}'),
    )
    server.handler.metrics.publish()
    series = told()
    assert series[f"signet_predictions_total{{{LABELS}}}"] == 2
    assert series[f"signet_rows_total{{{LABELS}}}"] == 3
    rejections = {name: value for name, value in series.items() if "rule:" in name and value}
    assert rejections == {
        f"signet_rejections_total{{{LABELS},rule:{rule}}}": 1 for rule in ("columns", "type", "format")
    }
    assert not any("secret" in name for name in series)
    assert series[f"signet_latency_seconds_count{{{LABELS}}}"] == 5
