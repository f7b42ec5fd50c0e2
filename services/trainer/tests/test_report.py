"""The pictures of `signet_trainer.report`."""

from pathlib import Path

import numpy as np
import pytest
from signet_trainer import report


@pytest.mark.parametrize("epochs", [0, 1, 30])
def test_pictures_are_drawn(tmp_path: Path, epochs: int) -> None:
    """For any length of training, and where a class was never predicted, or none for a row."""
    names = ("train_loss", "train_acc", "val_loss", "val_acc")
    curves = {name: {epoch: 1 / (epoch + 1) for epoch in range(epochs)} for name in names}
    report.learning_curves(curves).savefig(tmp_path / "curves.png")
    report.confusion_matrix(np.array([0, 1, 2, 2]), np.array([0, 2, 2, -1]), ("A", "B", "C")).savefig(
        tmp_path / "matrix.png"
    )
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in tmp_path.iterdir())
