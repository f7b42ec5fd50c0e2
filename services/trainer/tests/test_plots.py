"""The pictures of `signet_trainer.plots`."""

from pathlib import Path

import numpy as np
import pytest
from signet_trainer import plots


def test_confusions_are_counted() -> None:
    """True classes down, predictions across."""
    counts = plots.count_confusions(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]), 3)
    assert counts.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]


@pytest.mark.parametrize("epochs", [0, 1, 30])
def test_pictures_are_drawn(tmp_path: Path, epochs: int) -> None:
    """For any length of training, and where a class was never predicted."""
    names = ("train_loss", "train_acc", "val_loss", "val_acc")
    curves = {name: {epoch: 1 / (epoch + 1) for epoch in range(epochs)} for name in names}
    plots.learning_curves(curves).savefig(tmp_path / "curves.png")
    plots.confusion_matrix(np.diag([10, 0, 5]), ("A", "B", "C"), 1.0).savefig(tmp_path / "matrix.png")
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in tmp_path.iterdir())
