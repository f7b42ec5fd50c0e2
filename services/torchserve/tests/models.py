"""Tiny real models, written by MLflow itself as pt2, and how one gets to stand behind the handler."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlflow.pytorch
import numpy as np
import torch
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from signet_torchserve.archive import builder
from signet_torchserve.revision import Revision
from signet_torchserve.server.launch import METRICS_CONFIG
from signet_torchserve.worker import worker_loop
from signet_torchserve.worker.handler import SignatureHandler
from signet_torchserve.worker.worker_loop import Request
from ts.context import Context
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

NAME = "iris_classification"


class Formula(torch.nn.Module):
    """A function of one tensor, with one weight so that it has a state."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.one = torch.nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


class Weighted(torch.nn.Module):
    """A sum in which each place has its own weight, so that no column can stand in another's place unnoticed."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * (10.0 ** torch.arange(x.shape[1]))).nansum(1)


class Difference(torch.nn.Module):
    """Two named inputs whose order matters."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a - b


def save(
    folder: Path,
    module: torch.nn.Module,
    example: Any,
    signature: ModelSignature | None = None,
    **extra_files: Any,
) -> Path:
    """Save a module with MLflow as pt2, its rows free.

    Args:
        folder: a new folder.
        module: what is exported.
        example: its input, more than one row of it; a tuple for several.
        signature: what the model is to be held to, if not to the shape of its example; a column signature is put on
            afterwards, as the trainer does.
        extra_files: JSON documents by the stem of their file name.
    """
    exported = signature
    if signature is None or not signature.inputs.is_tensor_spec():
        exported = ModelSignature(Schema([TensorSpec(example.dtype, (-1, *example.shape[1:]))]))
    paths = [folder.parent / f"{stem}.json" for stem in extra_files]
    for path in paths:
        path.write_text(json.dumps(extra_files[path.stem]))
    mlflow.pytorch.save_model(
        module,
        folder,
        signature=exported,
        input_example=example,
        extra_files=[str(path) for path in paths] or None,
        pip_requirements=["torch"],
        serialization_format="pt2",
    )
    if signature is not None and signature is not exported:
        resign(folder, signature)
    return folder


def resign(folder: Path, signature: ModelSignature) -> None:
    """Put another signature on a saved model, as `mlflow.models.set_signature` does on a logged one."""
    document = Model.load(str(folder))
    document.signature = signature
    document.save(str(folder / "MLmodel"))


def unpack(model: Path, folder: Path, version: str = "7", **tags: str) -> Path:
    """Build the model's archive and unzip it, as TorchServe does, into a new folder."""
    mar = folder / "model.mar"
    folder.mkdir()
    builder.build(model, NAME, Revision(version, {f"serving.{tag}": value for tag, value in tags.items()}), mar)
    with zipfile.ZipFile(mar) as file:
        file.extractall(folder / "unpacked")
    return folder / "unpacked"


def rewrite(program: Path, change: Callable[[Any], object]) -> None:
    """Change the JSON of a .pt2 file."""
    with zipfile.ZipFile(program) as file:
        records = {name: file.read(name) for name in file.namelist()}
    (name,) = (name for name in records if name.endswith("models/model.json"))
    document = json.loads(records[name])
    change(document)
    records[name] = json.dumps(document).encode()
    with zipfile.ZipFile(program, "w") as file:
        for record, content in records.items():
            file.writestr(record, content)


def declared_metrics() -> MetricsCacheYamlImpl:
    """A worker's metrics, as TorchServe makes them from our metrics.yaml."""
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):  # it leaves the file open
        metrics = MetricsCacheYamlImpl(str(METRICS_CONFIG))
        metrics.initialize_cache()
    return metrics


class Server:
    """A handler that has loaded an unpacked archive, and is handed batches as TorchServe hands them."""

    def __init__(self, folder: Path) -> None:
        self.manifest = json.loads((folder / "MAR-INF/MANIFEST.json").read_text())
        self.context = Context(NAME, str(folder), self.manifest, 32, None, "0.12.0", metrics=declared_metrics())
        self.handler = SignatureHandler()
        self.handler.initialize(self.context)

    def answer(self, *requests: Request) -> list[Answer]:
        """Answers to a batch of requests (see `body` and `form`)."""
        answers = self.handler.answer(requests)
        assert len(answers) == len(requests)
        return [Answer(answer) for answer in answers]


class Answer:
    """What one client gets."""

    def __init__(self, answer: worker_loop.Answer) -> None:
        assert isinstance(answer.body, bytes)
        self.content = answer.body
        self.status = answer.status
        self.content_type = answer.content_type

    def json(self) -> Any:
        return json.loads(self.content, parse_constant=_refuse_constant)


def _refuse_constant(token: str) -> None:
    raise AssertionError(f"{token} is not JSON")


def body(content: Any, content_type: str = "application/json", *, is_explanation: bool = False) -> Request:
    """One request with a body; anything but bytes is written as JSON."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Request(b"1", {"body": raw}, content_type, is_explanation=is_explanation)


def form(fields: Mapping[str, bytes]) -> Request:
    """One request with a form."""
    return Request(b"1", dict(fields))


def rows(*shape: int, dtype: str = "float32") -> Any:
    """Numbers that differ from one another, of a shape."""
    return (np.arange(int(np.prod(shape))).reshape(shape) / 4 - 1).astype(dtype)
