"""The pictures of a run. No pyplot: figures are drawn without a display and freed with their last reference."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

TRAIN, VALIDATION, INK, GRID = "#2563eb", "#ea580c", "#1f2937", "#e5e7eb"
DARK_FROM = 0.55

Curves = Mapping[str, Mapping[int, float]]


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


def confusion_matrix(counts: NDArray[np.int64], names: Sequence[str], accuracy: float) -> Figure:
    """How many test rows of each species (rows) were taken for which (columns)."""
    figure = Figure(figsize=(5.6, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    share = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if share[row, column] > DARK_FROM else INK
        axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=15)
    labels = [name.capitalize() for name in names]
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels, rotation=90, va="center")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.tick_params(length=0)
    _dress(axes, f"{counts.sum()} test rows, accuracy {accuracy:.3f}")
    return figure


def count_confusions(true: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """[classes, classes]: true classes down, predicted ones across."""
    return np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", color=INK, fontweight="bold")
    for spine in axes.spines.values():
        spine.set_visible(False)
