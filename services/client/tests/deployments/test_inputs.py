from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.deployments import cli
from signet_client.deployments.inputs import as_written, body
from signet_client.deployments.mlflow_errors import DeploymentError

if TYPE_CHECKING:
    from pathlib import Path

DAY = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("inputs", "request_"),
    [
        (
            pd.DataFrame({"x": [1.0, 0.1 + 0.2], "n": [1, 2], "s": ["a", None]}, index=[7, 8]),
            {"dataframe_split": {"columns": ["x", "n", "s"], "data": [[1.0, 1, "a"], [0.1 + 0.2, 2, None]]}},
        ),
        (
            pd.DataFrame({"when": [DAY], "bytes": [b"\x00\xff"]}),
            {"dataframe_split": {"columns": ["when", "bytes"], "data": [[DAY.isoformat(), "AP8="]]}},
        ),
        (np.array([[1.0, 2.5]]), {"inputs": [[1.0, 2.5]]}),
        (torch.tensor([[1, 2]]), {"inputs": [[1, 2]]}),
        (torch.tensor([0.5], requires_grad=True), {"inputs": [0.5]}),
        ([[1.0, 2.0]], {"inputs": [[1.0, 2.0]]}),
        ({"a": np.array([1, 2]), "b": torch.zeros(2)}, {"inputs": {"a": [1, 2], "b": [0.0, 0.0]}}),
        ({"instances": [np.float64(4.0)]}, {"instances": [4.0]}),
        ({"inputs": [1], "params": {"k": 2}}, {"inputs": [1], "params": {"k": 2}}),
        ({"data": ["{}"]}, {"data": ["{}"]}),
    ],
)
def test_body(inputs: Any, request_: dict[str, Any]) -> None:
    """Values keep their types, and floats their every digit."""
    sent = json.loads(body(inputs))
    assert sent == request_
    assert repr(sent) == repr(request_), "1.0 is not 1"


@pytest.mark.parametrize("text", ['{"inputs": [[4.0]]}', b"\x00"])
def test_text_goes_as_it_is(text: str | bytes) -> None:
    """A text is the server's to decide on, byte for byte."""
    assert body(text) == (text.encode() if isinstance(text, str) else text)


def test_no_json() -> None:
    """What has no form in JSON is named by its type."""
    with pytest.raises(DeploymentError) as caught:
        body({"inputs": [object()]})
    assert str(caught.value).startswith("Inputs of type dict can't be sent: a object has no form in JSON.")
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize(
    ("content", "expected"), [(b"[4.0]", "[4.0]"), (b"\x1f\x8b\x08", "what pandas read"), (None, "what pandas read")]
)
def test_as_written(tmp_path: Path, content: bytes | None, expected: str) -> None:
    """In MLflow's own predict command the file is taken, if it is a text; what pandas has read if it is none."""
    path = tmp_path / "rows.json"
    if content is not None:
        path.write_bytes(content)
    with click.Context(cli.predict) as context:
        context.params["input_path"] = str(path)
        assert as_written("what pandas read") == expected
    with click.Context(click.Command("predict")) as context:
        context.params["input_path"] = str(path)
        assert as_written("what pandas read") == "what pandas read", "another program's command of that name"
    assert as_written("what pandas read") == "what pandas read"
