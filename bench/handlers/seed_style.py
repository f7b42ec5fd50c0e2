"""A plain handler, the way the seed writes it: pandas and MLflow's enforcement on every request.

Unlike the seed's it answers every row, hands on the columns in the signature's order and refuses with 400.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.utils import _enforce_schema


class SeedStyleHandler:
    """One request at a time."""

    def initialize(self, context: Any) -> None:
        """Load the archive that TorchServe has unpacked into the context's model_dir."""
        folder = Path(context.system_properties["model_dir"])
        self.model = torch.export.load(folder / "model.pt2").module()
        self.schema = Model.load(str(folder / "MLmodel")).signature.inputs
        self.labels = json.loads((folder / "index_to_name.json").read_text("utf-8"))

    def handle(self, batch: list[dict[str, Any]], context: Any) -> list[str]:
        """Labels of each request's rows as JSON, or MLflow's message."""
        answers = []
        for index, request in enumerate(batch):
            try:
                frame = pd.DataFrame(**json.loads(request["body"])["dataframe_split"])
                rows = _enforce_schema(frame, self.schema).to_numpy(dtype=np.float32)
                with torch.inference_mode():
                    classes = self.model(torch.from_numpy(rows)).argmax(dim=1)
                answers.append(json.dumps({"predictions": [self.labels[str(int(each))] for each in classes]}))
            except MlflowException as error:
                context.set_response_status(400, "Bad Request", index)
                answers.append(error.message)
        return answers
