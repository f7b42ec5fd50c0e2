"""What a wrong body costs beside a valid one of its size: `python -m bench.wrong [a word of what]`.

Each is answered in processes of their own, from the body to the answer, as by a worker without an enforcement service;
of a few tries the fastest counts, and the most memory. A valid one's answer is of three scores a row.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from signet_contract import request
from signet_contract.contract import Contract
from signet_contract.enforcement import decision  # noqa: F401 -- loaded before each process, as by the service
from signet_contract.errors import Rejected
from signet_torchserve.worker import response_encoding

MAX_BYTES = 6_500_000
_TRIES = 3
NAMES = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
ROW = [5.1, 3.5, 1.4, 0.2]

VALUES: dict[str, Any] = {
    "texts": ["a", "b", "c", "d"],
    "texts of numbers": ["5.1", "3.5", "1.4", "0.2"],
    "nulls": [None] * 4,
    "whole numbers": [5, 3, 1, 2],
    "huge numbers": [10**30] * 4,
    "infinities": [1e400] * 4,
    "beyond float32": [1e39] * 4,
    "booleans": [True, False, True, False],
    "lists": [[], [], [], []],
    "objects": [{}, {}, {}, {}],
    "a text among numbers": [5.1, 3.5, 1.4, "x"],
    "a null among numbers": [5.1, 3.5, 1.4, None],
}


_ODD: list[Any] = ["x", None, [], True, math.inf]


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one body."""

    said: str
    seconds: float
    mib: float
    """By which the process grew at most."""


Case = tuple[bytes, Contract, str]


def _signature(inputs: Schema, *params: ParamSpec) -> Contract:
    return Contract(ModelSignature(inputs, params=ParamSchema(list(params))).to_dict())


_IRIS = _signature(Schema([ColSpec("double", name) for name in NAMES]))
_UNNAMED = _signature(Schema([ColSpec("double") for _ in NAMES]))
_TENSOR = _signature(Schema([TensorSpec(np.dtype("float32"), (-1, 4))]))
_TENSORS = _signature(
    Schema([TensorSpec(np.dtype("float32"), (-1, 4), "t"), TensorSpec(np.dtype("int64"), (-1,), "n")])
)
_PARAMS = _signature(Schema([ColSpec("double", "a")]), ParamSpec("p", "double", [1.0], (-1,)))


def _repeated(item: Any, *, start: str = "[", end: str = "]", to_item: Callable[[Any], str] = json.dumps) -> bytes:
    text = to_item(item)
    return (start + ",".join([text] * ((MAX_BYTES - len(start) - len(end)) // (len(text) + 1))) + end).encode()


def _json(item: Any) -> str:
    return json.dumps(item, separators=(",", ":")).replace("1e+400", "1e400").replace("Infinity", "1e400")


def _split(row: list[Any]) -> Case:
    start = '{"dataframe_split":{"columns":' + _json(NAMES) + ',"data":['
    return _repeated(row, start=start, end="]}}", to_item=_json), _IRIS, ""


def _records(row: list[Any], key: str = "dataframe_records") -> Case:
    record = dict(zip(NAMES, row, strict=True))
    return _repeated(record, start=f'{{"{key}":[', end="]}", to_item=_json), _IRIS, ""


def _columns(row: list[Any], *, key: str = "inputs") -> Case:
    texts = list(map(_json, row))
    rows = (MAX_BYTES - 120) // (sum(map(len, texts)) + len(texts))
    parts = [f'"{name}":[{",".join([text] * rows)}]' for name, text in zip(NAMES, texts, strict=True)]
    return f'{{"{key}":{{{",".join(parts)}}}}}'.encode(), _IRIS, ""


def _seed(row: list[Any]) -> Case:
    rows = MAX_BYTES // sum(len(_json(value)) + 14 for value in row)
    columns = {name: {str(i): value for i in range(rows)} for name, value in zip(NAMES, row, strict=True)}
    return orjson.dumps({"data": [_json(columns)]}), _IRIS, ""


def _lists(row: list[Any], signature: Contract = _UNNAMED) -> Case:
    return _repeated(row, start='{"inputs":[', end="]}", to_item=_json), signature, ""


def _named_tensors(row: list[Any]) -> Case:
    return _repeated(row, start='{"inputs":{"n":[1],"t":[', end="]}}", to_item=_json), _TENSORS, ""


def _csv(row: list[Any]) -> Case:
    line = ",".join("" if value is None else str(value) for value in row)
    return "\n".join([",".join(NAMES), *[line] * (MAX_BYTES // (len(line) + 1))]).encode(), _IRIS, "text/csv"


def _params(row: list[Any]) -> Case:
    values = ",".join(map(_json, row))
    return (
        _repeated(row, start='{"inputs":{"a":[1.5]},"params":{"p":[', end="]}}", to_item=lambda _: values),
        _PARAMS,
        "",
    )


FORMATS: dict[str, Callable[[list[Any]], Case]] = {
    "split": _split,
    "records": _records,
    "instances": lambda row: _records(row, "instances"),
    "columns": _columns,
    "lists": _lists,
    "seed": _seed,
    "CSV": _csv,
    "tensor": lambda row: _lists(row, _TENSOR),
    "named tensors": _named_tensors,
    "params": _params,
}


def _ends() -> Iterator[tuple[str, str, Case]]:
    """Bodies in which one value is wrong, the last: all that stands before it is looked at, and is right."""
    for name, make in FORMATS.items():
        body, signature, media = make(ROW)
        before, _, after = body.rpartition(_json(ROW[-1]).encode())
        for odd in _ODD:
            text = str(odd) if media else _json(odd)
            text = _json(text)[1:-1] if name == "seed" else text  # it is JSON in a text
            yield name, f"{odd!r} at the end", (before + text.encode() + after, signature, media)


def _shapes() -> Iterator[tuple[str, str, Case]]:
    """Bodies whose values may be right and whose form is not, each with the format that it is held against."""
    pairs = [f'"k{index}":1.5' for index in range(MAX_BYTES // 16)]
    four = ",".join(f'"{name}":1.5' for name in NAMES)
    yield "records", "a key of its own in each", (f"[{','.join(f'{{{pair}}}' for pair in pairs)}]".encode(), _IRIS, "")
    yield "records", "many keys in one", (f"[{{{four},{','.join(pairs)}}}]".encode(), _IRIS, "")
    row, names = ",".join(["1.5"] * (MAX_BYTES // 8)), ",".join(['"c"'] * (MAX_BYTES // 8))
    split = f'{{"dataframe_split":{{"columns":[{names}],"data":[[{row}]]}}}}'
    yield "split", "a column many times", (split.encode(), _IRIS, "")
    ragged = f'{{"inputs":[[{row}],{",".join(["[1]"] * (MAX_BYTES // 8))}]}}'
    yield "lists", "of different lengths", (ragged.encode(), _UNNAMED, "")
    yield "tensor", "lists of different lengths", (ragged.encode(), _TENSOR, "")
    numbers = ",".join(["1.5"] * (MAX_BYTES // 4))
    yield "split", "numbers as columns", (f'{{"dataframe_split":{{"columns":[{numbers}]}}}}'.encode(), _IRIS, "")
    members = ",".join(['"a":1.5'] * (MAX_BYTES // 8))
    yield "records", "one key many times", (f"[{{{members}}}]".encode(), _IRIS, "")
    yield "records", "a huge key", (f'[{{"{"x" * MAX_BYTES}":1.5}}]'.encode(), _IRIS, "")
    records, _, _ = _records(ROW)
    yield "records", "a byte order mark before them", (b"\xef\xbb\xbf" + records, _IRIS, "")
    yield "records", "NaN in each", (records.replace(b"0.2", b"NaN"), _IRIS, "")
    escaped = records.replace(b"(cm)", rb"(\u0063m)")
    yield "records", "truncated after escapes", (escaped[:-2], _IRIS, "")
    text = f'"{"x" * (MAX_BYTES // 2)}"'
    huge = f'{{"inputs":[[{text},1,1,1],{",".join(["[1,1,1,1]"] * (MAX_BYTES // 22))}]}}'
    yield "tensor", "a huge text among numbers", (huge.encode(), _TENSOR, "")


def cost(case: Case) -> Cost:
    """What a body costs, by a few tries, each in a process of its own."""
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        tries = [pool.apply(_cost, case) for _ in range(_TRIES)]
    return Cost(tries[0].said, min(each.seconds for each in tries), max(each.mib for each in tries))


def _cost(body: bytes, signature: Contract, media: str) -> Cost:
    with suppress(Rejected):  # what the first rejection of a process costs is paid
        _IRIS.admit(request.decode(b'{"dataframe_records": [{"%b": "x"}]}' % '": 1.5, "'.join(NAMES).encode(), ""))
    before, began = _peak(), time.process_time()
    try:
        decoded = request.decode(body, media)
        model_input = signature.admit(decoded)
        response_encoding.write(np.zeros((model_input.rows, 3), np.float32), decoded, model_input, {0: "setosa"})
        said = "fed"
    except Rejected as rejection:
        said = str(rejection.document()["message"])
    return Cost(said, time.process_time() - began, _peak() - before)


def _peak() -> float:
    """Most memory that this process has had, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main(words: list[str]) -> None:
    """Print what each wrong body costs, beside the valid one of its format."""
    valid: dict[str, Cost] = {}
    cases = [(name, what, make(row)) for name, make in FORMATS.items() for what, row in VALUES.items()]
    for name, what, case in [*cases, *_ends(), *_shapes()]:
        if words and not any(word in f"{name}: {what}" for word in words):
            continue
        if name not in valid:
            valid[name] = cost(FORMATS[name](ROW))
            print(f"{name}: valid {valid[name].seconds:.2f} s {valid[name].mib:.0f} MiB {valid[name].said}")
        found, beside = cost(case), valid[name]
        ratio, more = found.seconds / beside.seconds, found.mib / max(beside.mib, 1)
        figures = f"{ratio:6.1f} x {more:5.1f} x {found.seconds:7.2f} s {found.mib:6.0f} MiB"
        print(f"{figures}  {name}: {what}: {found.said[:70]}")


if __name__ == "__main__":
    main(sys.argv[1:])
