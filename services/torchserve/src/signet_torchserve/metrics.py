"""What a worker has done, counted in plain numbers and handed to TorchServe at most once a second.

| metric at :8082                 | label  | counts                                              |
| ------------------------------- | ------ | --------------------------------------------------- |
| `signet_predictions_total`      |        | requests answered with a prediction                 |
| `signet_rows_total`             |        | the rows in them                                    |
| `signet_refusals_total`         | `rule` | requests refused, by the first rule that each broke |
| `signet_latency_seconds_bucket` | `le`   | requests whose batch took the worker `le` s or less |
| `signet_latency_seconds_sum`    |        | seconds, summed over requests                       |
| `signet_latency_seconds_count`  |        | all requests, answered or refused                   |

Each has the labels `model` and `version` too, none one that holds what came in a request; metrics.yaml declares them. A
worker hands TorchServe a metric by writing a line, which costs as much as a prediction does: so none is written for a
single request or batch.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from signet_torchserve.errors import RULES, Rule

if TYPE_CHECKING:
    from ts.context import Context

INTERVAL_S = 1.0

# Seconds. From the fastest batch of one row to what a client hardly waits for.
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, float("inf"))

# A series is a metric's name and the values of its labels after model and version.
_PREDICTIONS = ("signet_predictions_total",)
_ROWS = ("signet_rows_total",)
_REFUSALS = {rule: ("signet_refusals_total", rule) for rule in RULES}
_LATENCY = [("signet_latency_seconds_bucket", f"{bound:g}" if bound < BUCKETS[-1] else "+Inf") for bound in BUCKETS]
_LATENCY_SUM = ("signet_latency_seconds_sum",)
_LATENCY_COUNT = ("signet_latency_seconds_count",)


class Metrics:
    """Counters of one worker, which stand at zero as soon as it is loaded.

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
            *_REFUSALS.values(),
            *_LATENCY,
            _LATENCY_SUM,
            _LATENCY_COUNT,
        ]
        self._counted: dict[tuple[str, ...], float] = dict.fromkeys(every, 0)
        self._latencies = [0] * len(BUCKETS)  # requests between one bound and the next
        self._published: dict[tuple[str, ...], float] = {}
        self._is_due = False
        self.publish()

    def count(self, seconds: float, rows: Sequence[int], refused: Sequence[Rule]) -> None:
        """Count one batch.

        Args:
            seconds: what it took, so what each of its requests took.
            rows: rows of each request that is answered with a prediction.
            refused: the first rule broken by each request that is not.
        """
        counted = self._counted
        requests = len(rows) + len(refused)
        counted[_PREDICTIONS] += len(rows)
        counted[_ROWS] += sum(rows)
        for rule in refused:
            counted[_REFUSALS[rule]] += 1
        self._latencies[bisect_left(BUCKETS, seconds)] += requests
        counted[_LATENCY_SUM] += seconds * requests
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
