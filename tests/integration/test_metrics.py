"""What Prometheus reads of a deployment."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import requests

from testing.polling import until
from testing.repository import MODEL, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow.entities.model_registry import ModelVersion
    from stack import Stack

_SAMPLE = re.compile(r"^(signet_\w+)\{(.*?),?\} (\S+)$", re.MULTILINE)
COLUMNS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]


def _series(stack: Stack, version: str) -> dict[tuple[str, str], float]:
    """Value by metric and by its label besides model and version, for one version of the model."""
    series = {}
    for name, text, value in _SAMPLE.findall(stack.metrics()):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', text))
        if (labels.pop("model"), labels.pop("version")) == (MODEL, version):
            del labels["Hostname"]
            series[name, "".join(labels.values())] = float(value)
    return series


def test_metrics(stack: Stack, url: str, champion: Callable[[], ModelVersion]) -> None:
    """Known traffic is counted within seconds, under the registry's version and by the rules that it broke."""
    version = champion().version
    time.sleep(2)  # what others asked before is counted within one second
    before = _series(stack, version)
    rows = {"dataframe_split": {"columns": COLUMNS, "data": [[5.1, 3.5, 1.4, 0.2]] * 40}}
    for body in (json.dumps(rows).encode(), (SAMPLES / "sample.json").read_bytes()):
        assert requests.put(url, body, timeout=10).ok
    refused = [
        (SAMPLES / f"sig_invalid_{what}.json").read_bytes() for what in ("column_name", "data_type", "data_type")
    ]
    for body in (*refused, b"{", b'{"a column that is nobody\'s business": 1.5}'):
        assert requests.put(url, body, timeout=10).status_code == 400

    def counted() -> dict[tuple[str, str], float]:
        return {series: value - before[series] for series, value in _series(stack, version).items()}

    expected = {"columns": 2, "type": 2, "format": 1}
    until(
        "the rejections are counted",
        lambda: (
            {rule: count for (name, rule), count in counted().items() if "rejections" in name and count} == expected
        ),
        timeout_s=5,
    )
    increase = counted()
    # The containers' health check asks too.
    assert increase["signet_predictions_total", ""] >= 2
    assert increase["signet_rows_total", ""] >= 41
    assert increase["signet_latency_seconds_count", ""] >= 7
    buckets = [count for (name, _), count in sorted(increase.items(), key=_bound) if name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == increase["signet_latency_seconds_count", ""]
    assert "business" not in stack.metrics()


def _bound(series: tuple[tuple[str, str], float]) -> float:
    (name, label), _ = series
    return float(label) if name.endswith("_bucket") else 0
