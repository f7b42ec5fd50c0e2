"""What the handler's own steps cost, measured in this process with the garbage collector on, as in a worker.

The parser that it is held against is the faster of orjson and msgspec, with the garbage collector off: at its best.
"""

from __future__ import annotations

import gc
import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson
import torch
from mlflow.models import ModelSignature
from mlflow.models.utils import _enforce_schema
from mlflow.pyfunc.scoring_server import infer_and_parse_data
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from signet_contract.contract import Contract
from signet_contract.model_input import ModelInput
from signet_torchserve.model.program import Program

from bench import model

SIZES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
_ENOUGH_S = 0.3
_LEAST_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class OneRow:
    """Microseconds for one row."""

    check_us: float
    """From its body to the model's input."""
    mlflow_us: float
    """The same by MLflow's own way: its parser, a data frame, its enforcement."""
    program_us: float
    """The model's call as the worker makes it."""
    module_us: float
    """The call of the exported module as torch loads it."""
    others_us: dict[str, float]
    """As `check_us`, for other signatures, by what they are."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """Seconds for one body of `rows` rows: to parse its JSON and nothing else, and all the way to the model's input."""

    format: str
    rows: int
    parse_s: float
    check_s: float

    @property
    def ratio(self) -> float:
        return self.check_s / self.parse_s


def one_row(program_file: Path) -> OneRow:
    """Measure one row, and its way through the exported program in `program_file`."""
    schema = model.SIGNATURE.inputs
    program, module = Program(program_file), torch.export.load(program_file).module()
    model_input, tensor = _model_input(model.VALID), torch.tensor([model.ROW])

    def by_mlflow() -> None:
        _enforce_schema(infer_and_parse_data(json.loads(model.VALID), schema), schema).to_numpy(dtype=np.float32)

    calls = (lambda: _model_input(model.VALID), by_mlflow, lambda: program.run([model_input]), lambda: module(tensor))
    with torch.inference_mode():  # as handler.py has it
        check_us, mlflow_us, program_us, module_us = (1e6 * seconds(call)[0] for call in calls)
    others_us = {
        name: 1e6 * seconds(partial(_model_input, body, signature))[0] for name, (signature, body) in _OTHERS.items()
    }
    return OneRow(check_us, mlflow_us, program_us, module_us, others_us)


def bulk() -> Iterator[Bulk]:
    """Measure bodies of every size in every format."""
    values = np.random.default_rng(0).uniform(0.1, 8, (max(SIZES), len(model.COLUMNS))).round(1)
    for (name, format_), rows in itertools.product(FORMATS.items(), SIZES):
        listed = values[:rows].tolist()
        body, json_body = format_.body(listed), (format_.json_body or format_.body)(listed)
        # In turns, so that a slow moment of the machine is one for all.
        *parsed, checked = seconds(
            partial(parse, orjson.loads, json_body),
            partial(parse, _MSGSPEC.decode, json_body),
            partial(_model_input, body, format_.signature, format_.content_type),
        )
        yield Bulk(name, rows, min(parsed), checked)


def parse(loads: Callable[[Any], Any], body: bytes) -> None:
    """Parse a body, and the JSON in it if it is the seed's, without the garbage collector's looking on."""
    gc.disable()
    document = loads(body)
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        loads(document["data"][0])
    gc.enable()


def _signature(inputs: Schema, *params: ParamSpec) -> Contract:
    return Contract(ModelSignature(inputs, params=ParamSchema(list(params))).to_dict())


_MSGSPEC = msgspec.json.Decoder()
_IRIS = _signature(model.SIGNATURE.inputs)
_UNNAMED = _signature(Schema([ColSpec("double") for _ in model.COLUMNS]))
_TENSOR = _signature(Schema([TensorSpec(np.dtype(np.float32), (-1, len(model.COLUMNS)))]))
_PARAMS = _signature(model.SIGNATURE.inputs, ParamSpec("temperature", "double", 1.0))

_LISTS = orjson.dumps({"inputs": [model.ROW]})
_OTHERS = {
    "with params, which stay as they are": (_PARAMS, model.VALID),
    "with params, which are sent": (_PARAMS, model.VALID[:-1] + b', "params": {"temperature": 0.5}}'),
    "columns without names": (_UNNAMED, _LISTS),
    "a tensor": (_TENSOR, _LISTS),
}


def _model_input(body: bytes, signature: Contract = _IRIS, content_type: str = "") -> ModelInput:
    return signature.check(body, content_type)


def _split(rows: list[Any]) -> bytes:
    return orjson.dumps({"dataframe_split": {"columns": model.COLUMNS, "data": rows}})


def _records(rows: list[Any]) -> bytes:
    return orjson.dumps({"dataframe_records": [dict(zip(model.COLUMNS, row, strict=True)) for row in rows]})


def _columns(rows: list[Any]) -> bytes:
    return orjson.dumps({"inputs": dict(zip(model.COLUMNS, map(list, zip(*rows, strict=True)), strict=True))})


def _lists(rows: list[Any]) -> bytes:
    return orjson.dumps({"inputs": rows})


def _seed(rows: list[Any]) -> bytes:
    columns = {
        name: {str(index): row[column] for index, row in enumerate(rows)} for column, name in enumerate(model.COLUMNS)
    }
    return orjson.dumps({"data": [orjson.dumps(columns).decode()]})


def _csv(rows: list[Any]) -> bytes:
    return "\n".join([",".join(model.COLUMNS), *(",".join(map(str, row)) for row in rows)]).encode()


@dataclass(frozen=True, slots=True)
class Format:
    """How rows are written, and the signature that takes them so."""

    body: Callable[[list[Any]], bytes]
    signature: Contract = _IRIS
    content_type: str = ""
    json_body: Callable[[list[Any]], bytes] | None = None
    """The same rows in JSON for the parser, where the body is no JSON."""


FORMATS = {
    "dataframe_split": Format(_split),
    "dataframe_records": Format(_records),
    "inputs by column": Format(_columns),
    "inputs in lists": Format(_lists, _UNNAMED),
    "a tensor": Format(_lists, _TENSOR),
    "the seed's": Format(_seed),
    "CSV": Format(_csv, content_type="text/csv", json_body=_split),
}


def seconds(*calls: Callable[[], object]) -> list[float]:
    """Time of each call at its best, the calls taking turns."""
    began = time.perf_counter()
    for call in calls:
        call()
    # A clock reading costs what a microsecond's call costs: short calls are timed by the hundred.
    repeats = max(1, min(1000, int(_ENOUGH_S / 30 / (time.perf_counter() - began))))
    best = [float("inf")] * len(calls)
    rounds = 0
    while rounds < _LEAST_ROUNDS or time.perf_counter() - began < _ENOUGH_S * len(calls):
        for index, call in enumerate(calls):
            start = time.perf_counter()
            for _ in range(repeats):
                call()
            best[index] = min(best[index], (time.perf_counter() - start) / repeats)
        rounds += 1
    return best
