"""The network, what is served of it, and how Lightning trains it."""

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional

FEATURES = 4
CLASSES = 3
HIDDEN = 16
WEIGHT_DECAY = 0.01


class IrisNet(nn.Module):
    """Computes logits [n, 3] from float32 [n, 4] in centimetres; it scales the columns itself."""

    mean: Tensor
    std: Tensor

    def __init__(self, training_rows: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", training_rows.mean(dim=0))
        self.register_buffer("std", training_rows.std(dim=0))
        self.layers = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))

    def forward(self, rows: Tensor) -> Tensor:
        """Raw logits: cross-entropy brings its own softmax, and a ReLU here would cut off half of each of them."""
        logits: Tensor = self.layers((rows - self.mean) / self.std)
        return logits


class Labeller(nn.Module):
    """Computes the class numbers, int64 [n], from float32 [n, 4]: the program that is logged and served.

    A row whose greatest logit is not finite, as with lengths of 1e38 cm, has no class: -1.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, rows: Tensor) -> Tensor:
        """The class with the largest logit."""
        greatest, classes = self.net(rows).max(dim=1)
        return torch.where(greatest < torch.inf, classes, -1)  # the comparison is false for NaN, too


class IrisClassifier(LightningModule):
    """Cross-entropy, AdamW and a cosine schedule around any network that gives logits."""

    def __init__(self, net: nn.Module, lr: float, max_epochs: int) -> None:
        super().__init__()
        self.net = net
        self.lr = lr
        self.max_epochs = max_epochs

    def forward(self, rows: Tensor) -> Tensor:
        """The network's logits."""
        logits: Tensor = self.net(rows)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], _batch_idx: int) -> Tensor:
        """The loss of one batch; the epoch's loss and accuracy are logged over all batches and processes."""
        return self._step("train", batch)

    def validation_step(self, batch: tuple[Tensor, Tensor], _batch_idx: int) -> None:
        """The same figures on rows that the optimiser never sees."""
        self._step("val", batch)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The learning rate falls to 0 by the last epoch, which makes the end insensitive to when it comes."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=WEIGHT_DECAY)
        return {
            "optimizer": optimizer,
            "lr_scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.max_epochs),
        }

    def _step(self, part: str, batch: tuple[Tensor, Tensor]) -> Tensor:
        rows, labels = batch
        logits = self(rows)
        loss = functional.cross_entropy(logits, labels)
        accuracy = (logits.argmax(dim=1) == labels).float().mean()
        self.log_dict(
            {f"{part}_loss": loss, f"{part}_acc": accuracy},
            on_step=False,
            on_epoch=True,
            batch_size=len(labels),
            sync_dist=True,
        )
        return loss
