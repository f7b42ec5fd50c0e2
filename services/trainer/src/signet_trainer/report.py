"""What a run shows besides its metrics: pictures, and the rows that it trained and was tested on."""

from collections.abc import Sequence
from pathlib import Path

import mlflow
from mlflow.data.pandas_dataset import PandasDataset, from_pandas
from torch import Tensor

from signet_trainer import plots
from signet_trainer.data import Iris, Rows
from signet_trainer.names import ACCURACY_TAG

SOURCE = "https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_iris.html"
TARGET = "species"
DPI = 130


def log_pictures(curves: plots.Curves, iris: Iris, classes: Tensor, accuracy: float, scratch: Path) -> None:
    """Learning curves and confusion matrix, as PNG files in one upload."""
    folder = scratch / "pictures"
    folder.mkdir()
    counts = plots.count_confusions(iris.test.target, classes.numpy(), len(iris.species))
    plots.learning_curves(curves).savefig(folder / "learning_curves.png", dpi=DPI)
    plots.confusion_matrix(counts, iris.species, accuracy).savefig(folder / "confusion_matrix.png", dpi=DPI)
    mlflow.log_artifacts(str(folder))


def log_datasets(iris: Iris, model_id: str, accuracy: float) -> None:
    """The three parts of Iris as the run's inputs, and the test accuracy of the logged model on one of them."""
    parts = {"training": iris.train, "validation": iris.validation, "test": iris.test}
    datasets = {context: _dataset(f"iris-{context}", rows, iris.species) for context, rows in parts.items()}
    mlflow.log_inputs(list(datasets.values()), contexts=list(datasets), tags_list=[None] * len(datasets))
    mlflow.log_metrics({ACCURACY_TAG: accuracy}, model_id=model_id, dataset=datasets["test"])


def _dataset(name: str, rows: Rows, species: Sequence[str]) -> PandasDataset:
    frame = rows.frame.assign(**{TARGET: [species[number] for number in rows.target]})
    return from_pandas(frame, source=SOURCE, targets=TARGET, name=name)
