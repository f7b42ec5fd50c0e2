"""A model's own input example, as the request that it stands for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from signet_contract import Contract, Rejected

from signet_torchserve.errors import NotServable

_WHOLE = {"long", "integer"}


def request(model: Path, mlmodel: dict[str, Any], allow: frozenset[str]) -> Any:
    """JSON document of a request with the example's rows; None where a model of several tensors has none.

    MLflow exports a program for a tensor signature and an example that is an array; columns are put on afterwards. The
    array's columns are then the signature's, in its order. MLflow takes an example of several tensors and does not save
    it.

    Args:
        model: the MLflow model's folder.
        mlmodel: its MLmodel file's content, with a signature.
        allow: words of `signet_contract.policy` that hold.

    Raises:
        NotServable: the model was logged without an example, or its own signature refuses it.
    """
    inputs = json.loads(mlmodel["signature"]["inputs"])
    of_tensors = inputs[0]["type"] == "tensor"
    info = mlmodel.get("saved_input_example_info")
    if info is None and of_tensors and len(inputs) > 1:
        return None
    path = model / str((info or {}).get("serving_input_path"))
    if not path.is_file() or not path.resolve().is_relative_to(model.resolve()):
        raise NotServable(
            "The model has no input example: log it with mlflow.pytorch.log_model(…, input_example=<a numpy array>); "
            "MLflow does not save torch's tensors."
        )
    try:
        document = json.loads(path.read_text("utf-8"))
        if not of_tensors and isinstance(document.get("inputs"), list):
            document = _in_columns(document, inputs)
        Contract(mlmodel["signature"], allow).check(json.dumps(document).encode())
    except Rejected as rejection:
        raise NotServable(
            f"The model's own input example is refused by its signature: {rejection.message}"
        ) from rejection
    except (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise NotServable(f"The input example cannot be read: {error!r}.") from error
    return document


def _in_columns(document: dict[str, Any], columns: list[dict[str, Any]]) -> dict[str, Any]:
    """The document with its nested lists as rows of all columns, or of all that are required."""
    rows = document.pop("inputs")
    widths = set(map(len, rows))
    required = [column for column in columns if column.get("required", True)]
    named = columns if widths == {len(columns)} else required
    if widths != {len(named)}:
        raise NotServable(
            f"The input example has rows of {sorted(widths)} values: expected {len(columns)}, one for each column of "
            "its signature."
        )
    names = [column.get("name", index) for index, column in enumerate(named)]
    data = [[_typed(value, column["type"]) for value, column in zip(row, named, strict=True)] for row in rows]
    return {"dataframe_split": {"columns": names, "data": data}, **document}


def _typed(value: Any, type_: Any) -> Any:
    """A number of the array as its column writes it in JSON, where nothing is lost by that."""
    if type_ == "string":
        return str(value)
    if isinstance(value, float) and type_ in _WHOLE and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and type_ == "double":
        return float(value)
    if isinstance(value, float) and type_ == "boolean" and value in (0, 1):
        return bool(value)
    return value
