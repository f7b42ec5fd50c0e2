"""How an output is written down: labels where the model has them, else what MLflow's scoring server would answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from signet_contract.decoded_request import DecodedRequest
from signet_contract.model_input import ModelInput

from signet_torchserve.archive.file_names import LABELS
from signet_torchserve.errors import NotServable

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"

_NO_CLASS = -1


def write(
    output: Any, decoded: DecodedRequest, model_input: ModelInput, labels: Mapping[int, str] | None
) -> tuple[bytes, str]:
    """Body and media type of the answer to `decoded`, whose model output is `output`.

    | the request's format              | the output                 | the answer                                    |
    | --------------------------------- | -------------------------- | --------------------------------------------- |
    | MLflow's (`decoded.wrapped`)      | with a label for each row  | `{"predictions": ["SETOSA", …]}`              |
    |                                   | of a model of columns      | `{"predictions": [{"0": 0.5}, …]}`            |
    |                                   | any other                  | `{"predictions": [0.5, …]}`                   |
    | another: the seed's, no key, CSV  | of one row                 | its label as plain text, or its value as JSON |
    |                                   | of several rows            | a JSON list of labels or values               |

    A model of several outputs has no labels: its outputs are written as one JSON object or list. NaN and infinities,
    which JSON does not have, are written as null, and so is the label of a row that has no class. A class that the
    labels do not name is written as its number, as text.
    """
    values = None if labels is None else _labelled(output, labels)
    if values is None and decoded.wrapped and model_input.framed:
        values = _records(output)
    if values is None:
        values = _json_values(output)
    if decoded.wrapped:
        return orjson.dumps({"predictions": values}), JSON
    if isinstance(values, list) and len(values) == 1 and not isinstance(output, list):
        (value,) = values
        return (value.encode(), TEXT) if isinstance(value, str) else (orjson.dumps(value), JSON)
    return orjson.dumps(values), JSON


def refuse_unlabelled(output: Any, labels: Mapping[int, str]) -> None:
    """Refuse a version with labels whose output does not name a class for each row: no label could be answered.

    Raises:
        NotServable: the output is such a one.
    """
    if _labelled(output, labels) is None:
        got = f"{output.dtype} of the shape {output.shape}" if isinstance(output, np.ndarray) else "several outputs"
        raise NotServable(
            f"The version names classes ({LABELS}), and its program returns {got}: expected one whole number for each "
            "row, or rows of several scores."
        )


def _labelled(output: Any, labels: Mapping[int, str]) -> list[str | None] | None:
    """Label of each row: its integer is the class, or the greatest of its scores stands at the class's place.

    A row has no class if its integer is below zero, or if its greatest score is NaN or infinite: argmax would name the
    first of such scores.
    """
    if not isinstance(output, np.ndarray) or output.ndim == 0:
        return None
    classes = output
    if output.ndim == 2 and output.dtype.kind == "f" and output.shape[1] > 1:  # noqa: PLR2004 -- rows of scores
        classes = output.argmax(axis=1)
        if not math.isfinite(np.vdot(output, output)):  # fastest; where the sum overflows, each row is looked at
            classes = np.where(np.isfinite(output.max(axis=1)), classes, _NO_CLASS)
    if classes.dtype.kind not in "iu" or classes.size != len(classes):
        return None
    indices = classes.reshape(-1).tolist()
    if unnamed := set(indices).difference(labels):
        labels = {**labels, **{index: str(index) for index in unnamed if index >= 0}}
    return list(map(labels.get, indices))


def _records(output: Any) -> Any:
    """Rows as MLflow writes the data frame that pyfunc returns: `{"0": …, "1": …}` each."""
    if not isinstance(output, np.ndarray) or output.ndim not in (1, 2):
        return None
    return [{str(index): value for index, value in enumerate(row)} for row in output.reshape(len(output), -1).tolist()]


def _json_values(output: Any) -> Any:
    if isinstance(output, np.ndarray):
        return output.tolist()
    if isinstance(output, dict):
        return {name: _json_values(value) for name, value in output.items()}
    return [_json_values(value) for value in output] if isinstance(output, list) else output
