"""What a worker has done, counted in plain numbers and handed to TorchServe at most once a second.

| metric at :8082                 | label  | counts                                              |
| ------------------------------- | ------ | --------------------------------------------------- |
| `signet_predictions_total`      |        | requests answered with a prediction                 |
| `signet_rows_total`             |        | the rows in them                                    |
| `signet_rejections_total`       | `rule` | requests rejected, by the first rule that each broke |
| `signet_failures_total`         |        | requests that the server failed to answer           |
| `signet_latency_seconds_bucket` | `le`   | requests that took `le` s or less: their batch, and enforcement before it |
| `signet_latency_seconds_sum`    |        | seconds, summed over requests                       |
| `signet_latency_seconds_count`  |        | all requests, however answered                      |
| `signet_worker_memory_bytes`    |        | a gauge: what the worker takes that last reported   |

Each also has the labels `model` and `version`; metrics.yaml declares them. No label holds anything of a request.
A worker hands TorchServe a metric by writing a line, which costs as much as a prediction. So lines are not written for
each request or batch.
"""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from signet_contract.errors import RULES, Rule
from ts.metrics.metric_type_enum import MetricTypes

from signet_torchserve import memory

if TYPE_CHECKING:
    from ts.context import Context

INTERVAL_S = 1.0
MEMORY_INTERVAL_S = 60.0  # a worker answers nothing while it measures

# Seconds: from the fastest batch of one row to the longest that clients are likely to wait.
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, float("inf"))

# A series is a metric's name and the values of its labels after model and version.
_PREDICTIONS = ("signet_predictions_total",)
_ROWS = ("signet_rows_total",)
_REJECTIONS = {rule: ("signet_rejections_total", rule) for rule in RULES}
_FAILURES = ("signet_failures_total",)
_LATENCY = [("signet_latency_seconds_bucket", f"{bound:g}" if bound < BUCKETS[-1] else "+Inf") for bound in BUCKETS]
_LATENCY_SUM = ("signet_latency_seconds_sum",)
_LATENCY_COUNT = ("signet_latency_seconds_count",)


@dataclass(slots=True)
class Tally:
    """What became of a batch's requests, but for those that are still undecided."""

    rows: list[int] = field(default_factory=list)
    """Rows of each request that is answered with a prediction."""
    rejected: list[Rule] = field(default_factory=list)
    """The first rule broken by each request that is rejected."""
    failed: int = 0
    """Requests that the server failed to answer."""
    waited: list[float] = field(default_factory=list)
    """For each request that enforcement decided on, the seconds that it was undecided before this batch."""


class Metrics:
    """Counters of one worker. TorchServe gets them at zero when the worker is loaded.

    Args:
        context: the worker's; its metrics are those that metrics.yaml declares.
        version: the registry's number of the model's version.
    """

    def __init__(self, context: Context, version: str) -> None:
        self._declared = context.metrics
        self._labels = [context.model_name, version]
        every: list[tuple[str, ...]] = [
            _PREDICTIONS,
            _ROWS,
            *_REJECTIONS.values(),
            _FAILURES,
            *_LATENCY,
            _LATENCY_SUM,
            _LATENCY_COUNT,
        ]
        self._counted: dict[tuple[str, ...], float] = dict.fromkeys(every, 0)
        self._latencies = [0] * len(BUCKETS)  # requests between one bound and the next
        self._published: dict[tuple[str, ...], float] = {}
        self._shared = Path(context.system_properties["model_dir"])
        self._measured_at = -MEMORY_INTERVAL_S
        self._is_due = False
        self.publish()

    def count(self, seconds: float, tally: Tally) -> None:
        """Count a batch.

        Args:
            seconds: how long the batch took: all of its requests were answered at its end.
            tally: what became of its requests.
        """
        rows, rejected = tally.rows, tally.rejected
        counted = self._counted
        requests = len(rows) + len(rejected) + tally.failed
        counted[_FAILURES] += tally.failed
        counted[_PREDICTIONS] += len(rows)
        counted[_ROWS] += sum(rows)
        for rule in rejected:
            counted[_REJECTIONS[rule]] += 1
        self._latencies[bisect_left(BUCKETS, seconds)] += requests - len(tally.waited)
        for waited in tally.waited:
            self._latencies[bisect_left(BUCKETS, waited + seconds)] += 1
        counted[_LATENCY_SUM] += seconds * requests + sum(tally.waited)
        if not self._is_due:
            self._is_due = True
            timer = threading.Timer(INTERVAL_S, self.publish)
            timer.daemon = True
            timer.start()

    def publish(self) -> None:
        """Hand TorchServe what was counted since the last time."""
        self._is_due = False
        totals = list(accumulate(self._latencies))
        self._counted.update(zip((*_LATENCY, _LATENCY_COUNT), (*totals, totals[-1]), strict=True))
        for series, total in self._counted.items():
            published = self._published.get(series)
            if total != published:
                name, *labels = series
                self._declared.get_metric(name).add_or_update(total - (published or 0), [*self._labels, *labels])
                self._published[series] = total
        if time.monotonic() - self._measured_at >= MEMORY_INTERVAL_S:
            self._measured_at = time.monotonic()
            taken = memory.taken([os.getpid()], self._shared)
            gauge = self._declared.get_metric("signet_worker_memory_bytes", MetricTypes.GAUGE)
            gauge.add_or_update((taken.alone_mib + taken.share_mib) * 2**20, self._labels)
