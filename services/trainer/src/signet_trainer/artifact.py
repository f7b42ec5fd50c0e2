"""The model as it is served: a pt2 program, the column signature, the labels and the golden answers."""

import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow.pytorch
import numpy as np
import torch
from mlflow.models import ModelSignature, set_signature
from mlflow.models.model import ModelInfo
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

from signet_trainer.data import Iris, Rows
from signet_trainer.network import FEATURES, Labeller

GOLDEN_ROWS = 2
EXAMPLE_ROWS = 5
# What mlflow.pyfunc needs to load and run the program. Without this list MLflow would run the model to find out.
REQUIREMENTS = ("mlflow", "numpy", "pandas", "torch")


def log(labeller: Labeller, iris: Iris, scratch: Path) -> ModelInfo:
    """Log the program to the active run; the model that comes back is ready to be registered.

    MLflow takes pt2 only with a tensor signature, so the column signature replaces it afterwards, before any version
    of a registered model points here.
    """
    # If there is a GPU, MLflow tries the program there; but a program exported on the CPU can't be loaded on a GPU.
    os.environ.setdefault("MLFLOW_DEFAULT_PREDICTION_DEVICE", "cpu")
    labels = {str(number): name for number, name in enumerate(iris.species)}
    extra_files = [
        _write(scratch / "index_to_name.json", labels),
        _write(scratch / "golden.json", golden(labeller, iris)),
    ]
    model: ModelInfo = mlflow.pytorch.log_model(
        labeller,
        name="model",
        signature=tensor_signature(),
        input_example=iris.train.features[:EXAMPLE_ROWS].numpy(),
        extra_files=extra_files,
        pip_requirements=requirements(),
        serialization_format="pt2",
    )
    set_signature(model.model_uri, column_signature(iris.train))
    return model


def tensor_signature() -> ModelSignature:
    """What the program takes and returns."""
    return ModelSignature(
        Schema([TensorSpec(np.dtype(np.float32), (-1, FEATURES))]), Schema([TensorSpec(np.dtype(np.int64), (-1,))])
    )


def column_signature(rows: Rows) -> ModelSignature:
    """What a client sends: four `double` columns by name; and what the model answers: a `long`."""
    columns: list[ColSpec | TensorSpec] = [ColSpec(DataType.double, str(name)) for name in rows.frame.columns]
    return ModelSignature(Schema(columns), Schema([ColSpec(DataType.long)]))


def golden(labeller: Labeller, iris: Iris) -> dict[str, Any]:
    """The golden request, of two test rows for each class that the model answers, and the answer that it must get."""
    frame = iris.test.frame
    with torch.no_grad():
        classes = labeller(iris.test.features).numpy()
    chosen = [row for number in range(len(iris.species)) for row in np.flatnonzero(classes == number)[:GOLDEN_ROWS]]
    split = {"columns": [str(name) for name in frame.columns], "data": frame.iloc[chosen].to_numpy().tolist()}
    return {
        "request": {"dataframe_split": split},
        "response": {"predictions": [iris.species[number] for number in classes[chosen]]},
    }


def requirements() -> list[str]:
    """Exact versions, without the `+cpu` that only PyTorch's own index knows."""
    return [f"{name}=={version(_distribution(name)).partition('+')[0]}" for name in REQUIREMENTS]


def _distribution(name: str) -> str:
    """mlflow-skinny is the same release of the same code, and may be what is installed here."""
    return "mlflow-skinny" if name == "mlflow" else name


def _write(path: Path, content: Mapping[str, Any]) -> str:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return str(path)
