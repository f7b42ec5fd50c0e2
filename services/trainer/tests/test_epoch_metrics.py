"""How `signet_trainer.epoch_metrics` collects and sends metrics."""

from collections.abc import Sequence

import pytest
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from signet_trainer import epoch_metrics
from signet_trainer.epoch_metrics import EpochMetrics


def test_metrics_go_out_in_batches() -> None:
    """A thousand to a request, with the epoch as MLflow's step, and none twice."""
    sent: list[list[Metric]] = []
    log = EpochMetrics()
    log.send_to(lambda metrics: sent.append(list(metrics)))
    for epoch in range(1100):
        log.log_metrics({"val_loss": epoch / 2, "epoch": epoch}, step=epoch * 6)
    log.flush()
    log.flush()
    assert [len(batch) for batch in sent] == [1000, 100]
    assert (sent[1][-1].key, sent[1][-1].value, sent[1][-1].step) == ("val_loss", 549.5, 1099)
    assert log.curves["val_loss"][3] == 1.5


def test_a_server_that_is_away_gets_them_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed request in the middle of a training neither ends it nor loses a metric."""
    monkeypatch.setattr(epoch_metrics, "FLUSH_INTERVAL_S", 0.0)
    sent: list[Metric] = []

    def refuse(_metrics: Sequence[Metric]) -> None:
        raise MlflowException("away")

    log = EpochMetrics()
    log.send_to(refuse)
    log.log_metrics({"val_loss": 1.0, "epoch": 0})
    with pytest.raises(MlflowException, match="away"):
        log.flush()
    log.send_to(sent.extend)
    log.flush()
    assert [metric.value for metric in sent] == [1.0]
