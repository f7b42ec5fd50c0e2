"""`python -m bench.parsers`: what each parser beside orjson wins, where it reads a body, and what large bodies cost.

A parser stays if orjson in its place takes more than a quarter longer. All that is compared takes turns in one run.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
import orjson
import pandas as pd
import simdjson
from signet_contract import json_text
from signet_contract.bulk import numbers, tables

from bench import micro, model

BYTES = 6_500_000
"""Of a large body: the most that TorchServe takes."""
COLUMNS = model.COLUMNS
_MICRO = 1e-4  # seconds, from which on a time is told in milliseconds


def main() -> None:
    """Print the tables."""
    print("parser, where it reads                          | as it is | by orjson | × |")
    for name, (ours, by_orjson) in _uses().items():
        ours_s, orjson_s = micro.seconds(ours, by_orjson)
        print(f"{name:47} | {_time(ours_s)} | {_time(orjson_s)} | {orjson_s / ours_s:.2f} |")
    print("\none row, parsed by                             |")
    parsers = {
        "orjson": orjson.loads,
        "msgspec": msgspec.json.Decoder().decode,
        "simdjson": _simdjson,
        "json": json.loads,
    }
    times = micro.seconds(*(partial(loads, model.VALID) for loads in parsers.values()))
    for name, seconds in zip(parsers, times, strict=True):
        print(f"{name:47} | {_time(seconds)} |")
    print("\nbody of 6.5 MB, doubles of                      | orjson's parse | body to model input | × |")
    for (name, format_), (digits, values) in (
        (each, rows) for each in micro.FORMATS.items() for rows in _values().items()
    ):
        listed = _cut(values, format_.body)
        body, json_body = format_.body(listed), (format_.json_body or format_.body)(listed)
        check = partial(format_.signature.check, body, format_.content_type)
        parse_s, check_s = micro.seconds(partial(micro.parse, orjson.loads, json_body), check)
        print(f"{name + ', ' + digits:47} | {_time(parse_s)} | {_time(check_s)} | {check_s / parse_s:.2f} |")
    print("\nCSV of full precision, read by                  |")
    body = micro.FORMATS["CSV"].body(_cut(_values()["17 digits"], micro.FORMATS["CSV"].body))
    readers: dict[str, Callable[[], object]] = {
        "signet_contract": partial(tables.of_csv, body),
        "pandas": lambda: pd.read_csv(io.BytesIO(body)),
        "float() of each cell": lambda: list(map(float, body.replace(b"\n", b",").split(b",")[len(COLUMNS) :])),
        "simdjson, the numbers alone": partial(_simdjson, b"[" + body.partition(b"\n")[2].replace(b"\n", b",") + b"]"),
    }
    for name, seconds in zip(readers, micro.seconds(*readers.values()), strict=True):
        print(f"{name:47} | {_time(seconds)} |")


def _uses() -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """Where the package has another parser than orjson, and the same by orjson, which reads the same chunks."""
    uses: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {}
    for digits, values in _values().items():
        rows = orjson.dumps(_cut(values, orjson.dumps))
        records = orjson.dumps(
            [dict(zip(COLUMNS, row, strict=True)) for row in _cut(values, micro.FORMATS["dataframe_records"].body)]
        )
        uses[f"simdjson, lists of numbers, {digits}"] = (
            partial(numbers.of_list, simdjson.Parser(), rows, 1, len(rows) - 1, 1),
            partial(_by_orjson, rows, b"],", chain.from_iterable),
        )
        uses[f"msgspec, records of numbers, {digits}"] = (
            partial(tables.of_records, records, 1, len(records) - 1),
            partial(_by_orjson, records, b"},", lambda items: chain.from_iterable(map(itemgetter(*COLUMNS), items))),
        )
    wrong = b'{"dataframe_records": %b}' % records
    find = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    uses["msgspec, where a wrong body's lists stand"] = partial(find, wrong), partial(orjson.loads, wrong)
    return uses


def _by_orjson(body: bytes, separator: bytes, flat: Callable[[Any], Any]) -> list[Any]:
    """A list of rows, as `numbers` and `tables` read it: its values as arrays, and the types of each column."""
    width = len(COLUMNS)
    kinds: list[set[type]] = [set() for _ in COLUMNS]
    blocks = []
    with json_text.without_collector():
        for chunk in numbers.chunks(body, 1, len(body) - 1, separator):
            items = orjson.loads(b"[" + chunk + b"]")
            if set(map(len, items)) != {width}:
                raise ValueError("Some items do not look like the first.")
            values = list(flat(items))
            for column, of_column in enumerate(kinds):
                of_column.update(map(type, values[column::width]))
            blocks.append(np.fromiter(values, np.float64, len(values)).reshape(-1, width))
    return blocks


def _values() -> dict[str, Any]:
    values = np.random.default_rng(0).uniform(0.1, 8, (420_000, len(COLUMNS)))
    return {"2 digits": values.round(1), "17 digits": values}


def _cut(values: Any, body: Callable[[list[Any]], bytes]) -> list[Any]:
    """As many of the rows as such a body holds."""
    rows: list[Any] = values[: BYTES * 1000 // len(body(values[:1000].tolist()))].tolist()
    return rows


def _simdjson(body: bytes) -> object:
    found: Any = simdjson.Parser().parse(body)
    return found.as_buffer(of_type="d") if isinstance(found, simdjson.Array) else found.as_dict()


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:8.2f} ms" if seconds > _MICRO else f"{seconds * 1e6:8.2f} µs"


if __name__ == "__main__":
    main()
