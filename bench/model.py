"""The model that everybody serves, and the two requests that everybody gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow.pytorch
import numpy as np
import torch
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

COLUMNS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
ROW = [5.1, 3.5, 1.4, 0.2]
LABELS = {"0": "SETOSA", "1": "VERSICOLOR", "2": "VIRGINICA"}
SIGNATURE = ModelSignature(inputs=Schema([ColSpec("double", name) for name in COLUMNS]))

VALID = json.dumps({"dataframe_split": {"columns": COLUMNS, "data": [ROW]}}).encode()
# A text where a number belongs: everybody's rules refuse it.
INVALID = json.dumps({"dataframe_split": {"columns": COLUMNS, "data": [["wide", *ROW[1:]]]}}).encode()


def save(folder: Path) -> Path:
    """Save a net of the Iris example's size as the trainer does: as pt2, with labels and a column signature."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(4, 10), torch.nn.ReLU(), torch.nn.Linear(10, 10), torch.nn.ReLU(), torch.nn.Linear(10, 3)
    )
    labels = folder.parent / "index_to_name.json"
    labels.write_text(json.dumps(LABELS), "utf-8")
    options: dict[str, Any] = {"serialization_format": "pt2"}
    mlflow.pytorch.save_model(
        net,
        folder,
        signature=ModelSignature(Schema([TensorSpec(np.dtype(np.float32), (-1, 4))])),
        input_example=np.array([ROW, ROW], np.float32),
        extra_files=[str(labels)],
        pip_requirements=["torch"],
        **options,
    )
    document = Model.load(str(folder))
    document.signature = SIGNATURE
    document.save(str(folder / "MLmodel"))
    return folder
