"""A model whose answers tell which version made them by their values, not in a header only."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests
from mlflow import MlflowClient

from testing.polling import until
from testing.repository import ALIAS
from testing.steady import Load, Question


class NumberedModel:
    """A registered model of one stack: each version adds a thousand times its number to a row's sum.

    Args:
        mlflow_url: the stack's MLflow.
        predictions_url: the stack's TorchServe.
        name: of the registered model, and so of the deployment.
    """

    def __init__(self, mlflow_url: str, predictions_url: str, name: str = "numbered") -> None:
        self.client = MlflowClient(mlflow_url)
        self.name = name
        self._predictions_url = predictions_url

    def log(self) -> str:
        """Log and register the next version, with a golden answer; its number."""
        import mlflow.pytorch  # noqa: PLC0415 -- seconds that those who log nothing need not spend
        import torch  # noqa: PLC0415 -- as above
        from mlflow.models import infer_signature  # noqa: PLC0415 -- as above

        class Numbered(torch.nn.Module):
            thousands: torch.Tensor

            def __init__(self, number: int) -> None:
                super().__init__()
                self.register_buffer("thousands", torch.tensor(1000.0 * number))

            def forward(self, rows: torch.Tensor) -> torch.Tensor:
                return rows.sum(dim=1) + self.thousands

        version = str(1 + len(self.client.search_model_versions(f"name = '{self.name}'")))
        model, rows = Numbered(int(version)), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        golden = {"request": {"inputs": rows.tolist()}, "response": {"predictions": model(rows).tolist()}}
        mlflow.set_tracking_uri(self.client.tracking_uri)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "golden.json")
            file.write_text(json.dumps(golden), "utf-8")
            mlflow.pytorch.log_model(
                model,
                registered_model_name=self.name,
                signature=infer_signature(rows.numpy(), model(rows).numpy()),
                input_example=rows.numpy(),
                extra_files=[str(file)],
                pip_requirements=["torch"],
            )
        return version

    def copy(self, version: str, names: Sequence[str]) -> None:
        """Register a version under each of these names too."""
        for name in names:
            self.client.copy_model_version(f"models:/{self.name}/{version}", name)

    def deploy(self, names: Sequence[str]) -> None:
        """Give the alias to what `copy` has registered under these names."""
        for name in names:
            self.client.set_registered_model_alias(name, ALIAS, "1")

    def serve(self, version: str) -> None:
        """Move the alias and return when the version answers.

        Raises:
            TimeoutError: it does not in time.
        """
        self.client.set_registered_model_alias(self.name, ALIAS, version)
        until(f"{self.name} version {version} answers", lambda: self.answering(self.name) == version)

    def wait_until_ended(self, version: str) -> None:
        """Return when TorchServe knows the version no more, asked for by its number.

        Raises:
            TimeoutError: it goes on.
        """
        until(f"{self.name} version {version} has ended", lambda: self.answering(f"{self.name}/{version}") is None)

    def answering(self, name: str) -> str | None:
        """Version of the deployment of this name that answers; None if there is none."""
        answer = requests.post(f"{self._predictions_url}/predictions/{name}", json={"inputs": [[1, 2]]}, timeout=30)
        return answer.headers["X-Model-Version"] if answer.ok else None

    def tags(self, version: str) -> dict[str, str]:
        """What the registry says of a version: the controller tells there what became of it."""
        tags: dict[str, str] = self.client.get_model_version(self.name, version).tags
        return tags

    def load(self) -> Load:
        """Valid and invalid requests for whichever version is served."""
        return Load(f"{self._predictions_url}/predictions/{self.name}", _questions(self.name))


def _questions(name: str) -> list[Question]:
    """Three valid ones, of one row and of several, to each that the signature does not admit."""
    shape = "Shape of input (1, 3) does not match expected shape (-1, 2)."
    dtype = "dtype of input <U21 does not match expected dtype float32"
    return [
        _valid([[1, 2]]),
        _valid([[30, 4]]),
        _valid([[5, 6], [70, 8], [9, 100]]),
        _invalid(name, [[1, 2, 3]], shape, rule="shape", expected="[Tensor('float32', (-1, 2))]", got=shape, row=None),
        _valid([[-7, 7]]),
        _valid([[11, 12]]),
        _valid([[0, 0], [1, 1], [2, 2]]),
        _invalid(name, [["one", 2]], dtype, rule="type", expected="float32", got="string", row=0),
    ]


def _valid(rows: list[list[int]]) -> Question:
    def answer(version: str) -> Any:
        return {"predictions": [1000 * int(version) + sum(row) for row in rows]}

    return Question(json.dumps({"inputs": rows}).encode(), HTTPStatus.OK, answer)


def _invalid(name: str, rows: list[list[Any]], message: str, **problem: Any) -> Question:
    def answer(version: str) -> Any:
        return {
            "code": 400,
            "type": "MlflowException",
            "message": message,
            "model": name,
            "version": version,
            "errors": [problem | {"column": None}],
        }

    return Question(json.dumps({"inputs": rows}).encode(), HTTPStatus.BAD_REQUEST, answer)
