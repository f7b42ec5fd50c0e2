"""Saves the model that the servers beside this file serve, into the folder `ride`: it prices a taxi ride."""

import mlflow
import pandas as pd
import torch
from mlflow.models import infer_signature, set_signature


class Fare(torch.nn.Module):
    """Three for the start, 1.2 a kilometre and 0.5 a minute."""

    def forward(self, ride: torch.Tensor) -> torch.Tensor:
        return 3 + ride @ torch.tensor([1.2, 0.5])


rides = pd.DataFrame({"km": [5.0, 1.5], "minutes": [12.0, 4.0]})
example, fare = rides.to_numpy("float32"), Fare().eval()
prices = fare(torch.tensor(example)).numpy()
mlflow.pytorch.save_model(
    fare, "ride", signature=infer_signature(example, prices), input_example=example, pip_requirements=["torch"]
)  # an array: MLflow exports no model for a table
set_signature("ride", infer_signature(rides, prices))  # the names and types of its columns
