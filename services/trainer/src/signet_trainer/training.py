"""A Lightning training from settings, in one process or in several."""

import logging
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]  # tqdm ships no types

from signet_trainer import terminal
from signet_trainer.data import Iris, IrisDataModule, Rows
from signet_trainer.errors import BadOptions, TrainingStopped, root_cause
from signet_trainer.network import IrisClassifier, IrisNet, Labeller
from signet_trainer.settings import Settings

LINES_IN_A_LOG = 10


def make_trainer(settings: Settings, logger: Logger | None = None) -> Trainer:
    """A Trainer that writes no files. Raises BadOptions if Lightning refuses accelerator, devices or strategy."""
    quieten()
    try:
        return Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices,
            strategy=settings.strategy,
            num_nodes=settings.num_nodes,
            max_epochs=settings.max_epochs,
            deterministic=True,
            logger=logger or False,
            callbacks=[EpochProgress(), StopOnSigterm()],
            default_root_dir=Path(tempfile.gettempdir()),
            enable_checkpointing=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
        )
    except (ImportError, MisconfigurationException, RuntimeError, TypeError, ValueError) as error:
        chosen = f"--accelerator {settings.accelerator} --devices {settings.devices} --strategy {settings.strategy}"
        raise BadOptions(f"Lightning refuses {chosen}: {root_cause(error)}.") from error


def train(trainer: Trainer, settings: Settings, iris: Iris) -> IrisNet:
    """The trained network, on the CPU and in evaluation mode. Raises TrainingStopped after Ctrl-C or SIGTERM."""
    seed_everything(settings.seed, verbose=False)
    net = IrisNet(iris.train.features)
    classifier = IrisClassifier(net, settings.lr, settings.max_epochs)
    data = IrisDataModule(iris, settings.batch_size, settings.seed)
    with one_thread(), restored_signals(trainer):
        try:
            trainer.fit(classifier, datamodule=data)
        except SystemExit as stop:  # Lightning's answer to KeyboardInterrupt
            raise TrainingStopped(terminal.received()) from stop
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # else its threads may abort a process that ends
    return net.cpu().eval()


def device_name(trainer: Trainer) -> str:
    """`cpu`, `cuda` or `mps`."""
    return str(trainer.strategy.root_device.type)


def classify(labeller: Labeller, rows: Rows) -> Tensor:
    """The class of each row, in this process alone: no sampler shares rows out or repeats them."""
    with torch.no_grad():
        classes: Tensor = labeller(rows.features)
    return classes


def accuracy(classes: Tensor, labels: Tensor) -> float:
    """The share of rows whose class is right."""
    return int((classes == labels).sum()) / len(labels)


class StopOnSigterm(Callback):
    """Sets the trainer's own SIGTERM handler again, in place of Lightning's.

    Lightning's handler waits until all processes of a distributed training take part in a broadcast. A process that is
    in the middle of another broadcast never does.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The first moment at which Lightning's handler is in place."""
        del pl_module
        if trainer.is_global_zero:
            terminal.stop_on_signals()


class EpochProgress(ProgressBar):
    """Counts epochs, not batches: an epoch of Iris is short, and a bar for each would only flicker."""

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
            terminal.say(f"epoch {done:>{len(str(epochs))}}/{epochs}  {figures(trainer.callback_metrics)}")

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


def quieten() -> None:
    """Keep Lightning's advertisements and its advice for large data out of the log."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    # Worker processes would take longer to start than the training takes: 90 rows, in memory.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # Lightning 2.6 calls torch by a name that torch 2.13 renames: https://github.com/Lightning-AI/pytorch-lightning/issues/21326
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.* is deprecated")


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread: layers this small get slower with each thread, and with one thread sums keep their order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def restored_signals(trainer: Trainer) -> Iterator[None]:
    """Let Ctrl-C end only the first process, which ends the others. Afterwards the signals' handlers are restored."""
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if not trainer.is_global_zero:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
