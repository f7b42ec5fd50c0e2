"""Turns the inputs that a caller gives `predict` into the JSON that the prediction server takes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import click
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from signet_client.deployments.mlflow_errors import DeploymentError

_FORMATS = {"dataframe_split", "dataframe_records", "instances", "inputs", "data"}


def body(inputs: Any) -> bytes:
    """A DataFrame, a tensor, an array, a dict or a list as a request; a JSON text as it is. Raises DeploymentError.

    A dict is a request if it has the name of a format, such as `instances`; else it holds columns or tensors by name.
    """
    if isinstance(inputs, str | bytes):
        return inputs.encode() if isinstance(inputs, str) else inputs
    if hasattr(inputs, "to_dict"):  # a DataFrame; pandas, numpy and torch need not be installed
        split = inputs.astype(object).where(inputs.notna(), None).to_dict(orient="split")  # what is missing is null
        request = {"dataframe_split": {"columns": split["columns"], "data": split["data"]}}
    elif isinstance(inputs, dict) and _FORMATS & inputs.keys():
        request = inputs
    else:
        request = {"inputs": inputs}
    try:
        return json.dumps(request, default=_json_value).encode()
    except (TypeError, ValueError) as error:
        raise DeploymentError(
            f"Inputs of type {type(inputs).__name__} can't be sent: {error}."
            " Expected a DataFrame, a tensor, an array, a dict, a list or a JSON text.",
            INVALID_PARAMETER_VALUE,
        ) from error


def as_written(inputs: Any) -> Any:
    """The text of the file that MLflow's command line was given; without one, the inputs.

    The command line itself gives what pandas has read from the file. But pandas turns 4.0 into 4, which no `double`
    column takes.
    """
    from mlflow.deployments import cli  # noqa: PLC0415 -- the command line has imported it already

    context = click.get_current_context(silent=True)
    if context is None or context.command is not cli.predict:
        return inputs
    try:
        return Path(context.params["input_path"]).read_text("utf-8")
    except (OSError, UnicodeDecodeError):  # an address, or a compressed file
        return inputs


def _json_value(value: Any) -> Any:
    if hasattr(value, "detach"):  # a tensor: off its graph and its device
        value = value.detach().cpu()
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    raise TypeError(f"a {type(value).__name__} has no form in JSON")
