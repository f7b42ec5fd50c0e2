"""What a run shows besides its metrics: pictures, and the rows that it trained and was tested on.

Figures are made without pyplot: they are drawn without a display and freed with their last reference.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import mlflow
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mlflow.data.pandas_dataset import PandasDataset, from_pandas
from numpy.typing import NDArray
from sklearn.metrics import ConfusionMatrixDisplay  # type: ignore[import-untyped]  # scikit-learn ships no types
from torch import Tensor

from signet_trainer import ACCURACY_TAG
from signet_trainer.data import Iris, Rows

SOURCE = "https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_iris.html"
TARGET = "species"
DPI = 130
TRAIN, VALIDATION, INK, GRID = "#2563eb", "#ea580c", "#1f2937", "#e5e7eb"

Curves = Mapping[str, Mapping[int, float]]


def log_pictures(curves: Curves, iris: Iris, classes: Tensor, scratch: Path) -> None:
    """Learning curves and confusion matrix, as PNG files in one upload."""
    folder = scratch / "pictures"
    folder.mkdir()
    learning_curves(curves).savefig(folder / "learning_curves.png", dpi=DPI)
    confusion_matrix(iris.test.target, classes.numpy(), iris.species).savefig(folder / "confusion_matrix.png", dpi=DPI)
    mlflow.log_artifacts(str(folder))


def learning_curves(curves: Curves) -> Figure:
    """Loss and accuracy over the epochs, training beside validation."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, metric, title in zip(
        figure.subplots(1, 2), ("loss", "acc"), ("Cross-entropy loss", "Accuracy"), strict=True
    ):
        for part, label, color in (("train", "training", TRAIN), ("val", "validation", VALIDATION)):
            points = curves.get(f"{part}_{metric}", {})
            marker = "o" if len(points) == 1 else None
            axes.plot(
                [epoch + 1 for epoch in points], list(points.values()), label=label, color=color, lw=2, marker=marker
            )
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _dress(axes, title)
        axes.grid(color=GRID, lw=0.8)
        axes.set_axisbelow(True)
        axes.legend(frameon=False)
    return figure


def confusion_matrix(true: NDArray[np.int64], predicted: NDArray[np.int64], names: Sequence[str]) -> Figure:
    """How many test rows of each species (rows) were taken for which (columns)."""
    figure = Figure(figsize=(5.6, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    ConfusionMatrixDisplay.from_predictions(
        true, predicted, labels=range(len(names)), display_labels=names, cmap="Blues", colorbar=False, ax=axes
    )
    _dress(axes, f"{len(true)} test rows, accuracy {(true == predicted).mean():.3f}")
    return figure


def log_datasets(iris: Iris, model_id: str, accuracy: float) -> None:
    """The three parts of Iris as the run's inputs, and the test accuracy of the logged model on one of them."""
    parts = {"training": iris.train, "validation": iris.validation, "test": iris.test}
    datasets = {context: _dataset(f"iris-{context}", rows, iris.species) for context, rows in parts.items()}
    mlflow.log_inputs(list(datasets.values()), contexts=list(datasets), tags_list=[None] * len(datasets))
    mlflow.log_metrics({ACCURACY_TAG: accuracy}, model_id=model_id, dataset=datasets["test"])


def _dataset(name: str, rows: Rows, species: Sequence[str]) -> PandasDataset:
    frame = rows.frame.assign(**{TARGET: [species[number] for number in rows.target]})
    return from_pandas(frame, source=SOURCE, targets=TARGET, name=name)


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", color=INK, fontweight="bold")
    for spine in axes.spines.values():
        spine.set_visible(False)
