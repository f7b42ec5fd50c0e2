"""What the handler's own steps cost, measured in this process with the garbage collector on, as in a worker."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from mlflow.models.utils import _enforce_schema
from mlflow.pyfunc.scoring_server import infer_and_parse_data
from signet_torchserve import payload
from signet_torchserve.feed import Feed
from signet_torchserve.program import Program
from signet_torchserve.signature import Signature

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
    feed, tensor = _model_input(model.VALID), torch.tensor([model.ROW])

    def by_mlflow() -> None:
        _enforce_schema(infer_and_parse_data(json.loads(model.VALID), schema), schema).to_numpy(dtype=np.float32)

    calls = (lambda: _model_input(model.VALID), by_mlflow, lambda: program.run([feed]), lambda: module(tensor))
    with torch.inference_mode():  # as handler.py has it
        return OneRow(*(1e6 * _seconds(call)[0] for call in calls))


def bulk() -> Iterator[Bulk]:
    """Measure bodies of every size in every format."""
    values = np.random.default_rng(0).uniform(0.1, 8, (max(SIZES), len(model.COLUMNS))).round(1)
    for (name, (body_of, parse)), rows in itertools.product(_FORMATS.items(), SIZES):
        body = body_of(values[:rows].tolist())
        # In turns, so that a slow moment of the machine is one for both.
        yield Bulk(name, rows, *_seconds(partial(parse, body), partial(_model_input, body)))


_SIGNATURE = Signature(model.SIGNATURE.to_dict())


def _model_input(body: bytes) -> Feed:
    return _SIGNATURE.check(payload.decode(body))


def _split(rows: list[Any]) -> bytes:
    return orjson.dumps({"dataframe_split": {"columns": model.COLUMNS, "data": rows}})


def _records(rows: list[Any]) -> bytes:
    return orjson.dumps({"dataframe_records": [dict(zip(model.COLUMNS, row, strict=True)) for row in rows]})


def _seed(rows: list[Any]) -> bytes:
    columns = {
        name: {str(index): row[column] for index, row in enumerate(rows)} for column, name in enumerate(model.COLUMNS)
    }
    return orjson.dumps({"data": [orjson.dumps(columns).decode()]})


def _parse_seed(body: bytes) -> None:
    """The body is JSON, and the text in it is JSON again."""
    orjson.loads(orjson.loads(body)["data"][0])


# How a body of rows is written, and the least that any reader of it must do.
_FORMATS: dict[str, tuple[Callable[[list[Any]], bytes], Callable[[bytes], None]]] = {
    "dataframe_split": (_split, orjson.loads),
    "dataframe_records": (_records, orjson.loads),
    "the seed's": (_seed, _parse_seed),
}


def _seconds(*calls: Callable[[], object]) -> list[float]:
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
