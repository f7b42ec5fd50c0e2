"""The contract: an MLflow model signature, compiled once, that every request is held to.

A request takes one of two ways. `Signature.check` first looks whether it is *surely valid*: named scalar columns, all
there, each value of exactly the JSON type that the column asks for. That costs microseconds, and nearly all traffic
is of that kind. Whatever is not surely valid goes to `verdict`, where MLflow itself decides with pandas, and where
what is wrong gets its name. The first way never refuses and the second never guesses, so both together accept and
feed exactly what MLflow would.

Neither TorchServe nor torch is imported here; MLflow and pandas only when a request needs their verdict.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from signet_torchserve.arrays import Arrays
from signet_torchserve.columns import Columns
from signet_torchserve.payload import Payload

Array = np.ndarray[Any, Any]


@dataclass(slots=True)
class Feed:
    """What the model is called with.

    `inputs` is one array (float32 [rows, columns] for a column signature), or for named tensors a dict of arrays.
    `framed` tells that pyfunc would have fed a data frame, and so would answer in records.
    """

    inputs: Array | dict[str, Array]
    params: dict[str, Any]
    framed: bool


class Signature:
    """Inputs and params of an MLflow model signature.

    Args:
        document: the `signature` entry of an MLmodel file: `inputs`, `outputs` and `params`, each a JSON text or
            None.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        inputs = json.loads(document["inputs"])
        self._is_columns = Columns.can_read(inputs)
        self._fast: Columns | Arrays | None = None
        if not json.loads(document.get("params") or "[]"):
            if self._is_columns:
                self._fast = Columns(inputs)
            elif Arrays.can_read(inputs):
                self._fast = Arrays(inputs)

    @classmethod
    def load(cls, mlmodel: Path) -> Signature:
        """Signature of the MLmodel file at `mlmodel`.

        Raises:
            KeyError: the model was logged without one.
        """
        return cls(yaml.safe_load(mlmodel.read_text("utf-8"))["signature"])

    def check(self, payload: Payload) -> Feed:
        """What to call the model with for `payload`.

        Raises:
            Refusal: the payload cannot be read in its format, or the signature does not admit it.
        """
        feed = self.surely_valid(payload)
        if feed is not None:
            return feed
        from signet_torchserve.verdict import decide  # noqa: PLC0415 -- pandas and MLflow load only when they are needed

        document = self._document
        return decide(document["inputs"], document.get("outputs"), document.get("params"), payload)

    def surely_valid(self, payload: Payload) -> Feed | None:
        """What to call the model with, found in microseconds; None if that takes a verdict."""
        if self._fast is None or payload.params is not None:
            return None
        inputs = self._fast.read(payload)
        return None if inputs is None else Feed(inputs, {}, self._is_columns)
