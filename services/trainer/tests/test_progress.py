"""What `signet_trainer.progress` writes."""

import pytest
from signet_trainer import training
from signet_trainer.data import Iris
from signet_trainer.settings import Settings


@pytest.mark.parametrize(("epochs", "lines"), [(1, 1), (25, 9)])
def test_a_log_gets_some_ten_lines(iris: Iris, capsys: pytest.CaptureFixture[str], epochs: int, lines: int) -> None:
    """Without a terminal there is no bar; the last epoch always has its line."""
    settings = Settings(max_epochs=epochs)
    training.train(training.make_trainer(settings), settings, iris)
    out = capsys.readouterr().out.splitlines()
    assert len(out) == lines
    assert out[-1].startswith(f"epoch {epochs}/{epochs}  train_loss ")
