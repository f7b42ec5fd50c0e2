"""The JSON of a .pt2 file's program, and the numbers by which torch 2.13 names dtypes, layouts and memory formats.

Source: torch/_export/serde/schema.py
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

PROGRAM_JSON = "models/model.json"
"""The record of a .pt2 file that holds the program's JSON, in the one folder that the file has."""

SCHEMA_VERSION = 8
"""The major version of the JSON that this torch reads."""

DTYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    9: "complex32",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
    34: "uint32",
    35: "uint64",
}
"""torch's name of each dtype that a program's tensor may have; other dtypes have eight bits or fewer."""

LAYOUTS = {7: "strided"}
"""torch's name of the one layout that is not sparse."""

LEAST_BOUND = 2
"""The lower bound that torch.export gives every free size, for its own reasoning: torch's module takes 1, too."""

NO_END = 1 << 62
"""An end of a slice beyond this number is none: the slice goes to the end of its dimension."""

MEMORY_FORMATS = {1: "contiguous_format", 2: "channels_last", 3: "channels_last_3d", 4: "preserve_format"}


def program_json(path: Path) -> dict[str, Any]:
    """The JSON of a .pt2 file's program."""
    with zipfile.ZipFile(path) as file:
        (record,) = (record for record in file.namelist() if record.endswith(PROGRAM_JSON))
        document: dict[str, Any] = json.loads(file.read(record))
    return document
