"""The progress of a training: a bar on a terminal, some ten lines in a log."""

import sys
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm  # type: ignore[import-untyped]  # tqdm ships no types

from signet_trainer.console import say

LINES_IN_A_LOG = 10


class EpochProgress(ProgressBar):
    """Counts epochs, not batches: an epoch of Iris takes some 20 ms, and a bar for each would only flicker."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._bar: tqdm | None = None

    def disable(self) -> None:
        """Lightning calls this in every process but the first."""
        self._enabled = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar, where there is a terminal to draw it on."""
        super().on_train_start(trainer, pl_module)
        if self._enabled and sys.stderr.isatty():
            self._bar = tqdm(total=trainer.max_epochs, unit="epoch", desc="training", dynamic_ncols=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Advance the bar, or write a line each tenth of the way."""
        super().on_train_epoch_end(trainer, pl_module)
        if not self._enabled:
            return
        epochs = trainer.max_epochs or 1
        done = trainer.current_epoch + 1
        if self._bar is not None:
            self._bar.set_postfix_str(figures(trainer.callback_metrics), refresh=False)
            self._bar.update()
        elif done == epochs or done % -(-epochs // LINES_IN_A_LOG) == 0:
            say(f"epoch {done:>{len(str(epochs))}}/{epochs}  {figures(trainer.callback_metrics)}")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the last state of the bar on the screen, also after Ctrl-C."""
        super().teardown(trainer, pl_module, stage)
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def figures(metrics: Mapping[str, Any]) -> str:
    """`train_loss 0.123  train_acc 0.967  …`, in the order in which a person compares them."""
    names = ("train_loss", "train_acc", "val_loss", "val_acc")
    return "  ".join(f"{name} {float(metrics[name]):.3f}" for name in names if name in metrics)
