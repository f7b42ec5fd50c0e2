"""The metrics of each epoch, kept for the plots and sent to MLflow in batches."""

import time
from argparse import Namespace
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

FLUSH_INTERVAL_S = 5.0
# While the server is away, each try costs the seconds of MLflow's own retries.
PAUSE_AFTER_FAILURE_S = 60.0
# The server refuses more metrics in one request.
BATCH = 1000

Send = Callable[[Sequence[Metric]], object]


class EpochMetrics(Logger):
    """A Lightning logger that keeps the metrics, and sends them to MLflow every few seconds, and at the end.

    A request for each epoch would take longer than the epoch. A server that is away gets the metrics later: only
    `flush` raises an error.
    """

    def __init__(self) -> None:
        super().__init__()
        self._send: Send | None = None
        self._pending: list[Metric] = []
        self._flush_at = time.monotonic() + FLUSH_INTERVAL_S
        self.curves: dict[str, dict[int, float]] = defaultdict(dict)

    def send_to(self, send: Send) -> None:
        """Send metrics by this function from now on: a run is there to take them."""
        self._send = send

    @property
    def name(self) -> str:
        """What Lightning calls this logger."""
        return "mlflow"

    @property
    def version(self) -> None:
        """None: Lightning would name a folder after it, and there is no folder."""
        return

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Take the metrics of an epoch; MLflow's step is the epoch, counted from 0."""
        epoch = int(metrics.get("epoch", step or 0))
        now_ms = int(time.time() * 1000)
        for name, value in metrics.items():
            if name != "epoch":
                self.curves[name][epoch] = value
                self._pending.append(Metric(name, value, now_ms, epoch))
        if time.monotonic() > self._flush_at:
            try:
                self.flush()
            except MlflowException:
                self._flush_at = time.monotonic() + PAUSE_AFTER_FAILURE_S

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The parameters are logged before the training starts."""

    def flush(self) -> None:
        """Send what is pending; MlflowException where the server cannot take it."""
        while self._pending and self._send is not None:
            self._send(self._pending[:BATCH])
            del self._pending[:BATCH]
        self._flush_at = time.monotonic() + FLUSH_INTERVAL_S
