"""The numbers by which torch 2.13 names dtypes, layouts and memory formats in a .pt2 file's JSON.

Source: torch/_export/serde/schema.py
"""

from __future__ import annotations

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
"""torch's name of each dtype that a tensor of a program may have; the others are of eight bits and below."""

LAYOUTS = {7: "strided"}
"""torch's name of the one layout that is not sparse."""

MEMORY_FORMATS = {1: "contiguous_format", 2: "channels_last", 3: "channels_last_3d", 4: "preserve_format"}
