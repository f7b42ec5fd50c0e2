"""Reads a torch.export program from its JSON, and runs it as straight calls of PyTorch's operators.

`torch.export.load` imports a compiler, which costs each worker time and memory, and its modules compare each call with
the exported example. A program of ATen operators on plain tensors needs neither. Any other program is `Unsupported`,
and is left to PyTorch.

The format is that of torch/_export/serde/schema.py.
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from signet_torchserve.model.code_generation.source import DTYPES, Source, Unsupported
from signet_torchserve.model.program_protocol import Form
from signet_torchserve.model.pt2_schema import LAYOUTS, SCHEMA_VERSION, program_json
from signet_torchserve.model.shapes.guards import Guards

_TREESPEC_VERSION = 1

# What is raised where a document has another form than expected.
_UNREADABLE = (AttributeError, IndexError, KeyError, RecursionError, RuntimeError, StopIteration, TypeError, ValueError)


class Graph:
    """A `LoadedProgram`.

    Args:
        path: the .pt2 file.
        device: torch device it runs on, wherever it was exported.

    Raises:
        Unsupported: it is not made of ATen operators and plain tensors alone, or the file has another form.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        try:
            document = program_json(path)
            with zipfile.ZipFile(path) as archive:
                root = archive.namelist()[0].partition("/")[0]
                tensors = _tensors(archive, np.memmap(path, np.uint8, "c"), f"{root}/data", device)
            if document["schema_version"]["major"] != SCHEMA_VERSION:
                raise Unsupported(f"schema {document['schema_version']}")
            self._read(document, tensors, device)
        except (*_UNREADABLE, zipfile.BadZipFile, zlib.error) as error:
            raise Unsupported(f"{type(error).__name__}: {error}") from error

    def __call__(self, *inputs: torch.Tensor, **params: Any) -> Any:
        """As `LoadedProgram` says."""
        shapes = tuple([tensor.shape for tensor in inputs])
        if shapes not in self._admitted or params or self._params:
            self._admit(shapes, params)
        return self._function(*inputs)

    def _admit(self, shapes: tuple[torch.Size, ...], params: dict[str, Any]) -> None:
        if shapes not in self._admitted:
            self._guards.hold(shapes)
        if not _are_same(params, self._params):
            raise ValueError(f"Expected the params {self._params}, for which it was exported, but got {params}")

    def _read(self, document: dict[str, Any], tensors: dict[str, torch.Tensor], device: torch.device) -> None:
        module = document["graph_module"]
        graph, signature = module["graph"], module["signature"]
        source = Source(device)
        dtypes: list[torch.dtype] = []
        constants: list[Any] = []
        for spec in signature["input_specs"]:
            ((kind, value),) = spec.items()
            match kind:
                case "user_input" if not constants:
                    name = value["arg"]["as_tensor"]["name"]
                    source.take(name)
                    dtypes.append(DTYPES[graph["tensor_values"][name]["dtype"]])
                case "constant_input":
                    ((constant_kind, constant),) = value["value"].items()
                    constants.append(None if constant_kind == "as_none" else constant)
                case "parameter" | "buffer" | "tensor_constant":
                    source.hold(value["arg"]["name"], tensors[value[f"{kind}_name"]])
                case _:
                    raise Unsupported(f"an input of the kind {kind}")
        if any(set(spec) != {"user_output"} for spec in signature["output_specs"]):
            raise Unsupported("it changes its state or its inputs")
        for node in graph["nodes"]:
            source.call(node)
        call = module["module_call_graph"][0]["signature"]
        self._function = source.function(_tree(call["out_spec"]), graph["outputs"])
        self._guards = Guards(document)
        self._admitted = self._guards.admitted  # an attribute of its own, because each call looks it up
        self.forms: Sequence[Form] = [
            Form(dtype, tuple(sizes), tuple(example))
            for dtype, sizes, example in zip(dtypes, self._guards.sizes, self._guards.examples, strict=True)
        ]
        names, params = _arguments(call, len(dtypes))
        self.names: Sequence[str] = names
        self._params = dict(zip(params, constants, strict=True))


def _tensors(
    archive: zipfile.ZipFile, content: npt.NDArray[np.uint8], folder: str, device: torch.device
) -> dict[str, torch.Tensor]:
    """Weights and constants by name; those that share a record share memory.

    On the CPU that memory is the mapped file, `content`. So all workers share one copy, and the system can drop pages
    and read them again. A page that a process writes to becomes its own.
    """
    tensors: dict[str, torch.Tensor] = {}
    for part in ("weights", "constants"):
        config = json.loads(archive.read(f"{folder}/{part}/model_{part}_config.json"))["config"]
        records: dict[str, torch.Tensor] = {}
        for name, payload in config.items():
            record, meta = payload["path_name"], payload["tensor_meta"]
            if payload["use_pickle"] or meta["layout"] not in LAYOUTS:
                raise Unsupported(f"{name} is no plain tensor")
            if record not in records:
                stored = _stored(archive.getinfo(f"{folder}/{part}/{record}"), content)
                records[record] = _typed(stored, DTYPES[meta["dtype"]]).to(device)
            sizes, strides = ([size["as_int"] for size in meta[key]] for key in ("sizes", "strides"))
            tensors[name] = records[record].as_strided(sizes, strides, meta["storage_offset"]["as_int"])
    return tensors


def _stored(entry: zipfile.ZipInfo, content: npt.NDArray[np.uint8]) -> torch.Tensor:
    """The bytes of an entry in the zip file's `content`."""
    if entry.compress_type != zipfile.ZIP_STORED:
        raise Unsupported(f"{entry.filename} is compressed")
    # The header in front of the entry's bytes has 30 bytes, a name and an extra field: https://libzip.org/specifications/appnote_iz.txt
    name, extra = struct.unpack_from("<HH", content.data, entry.header_offset + 26)
    begin = entry.header_offset + 30 + name + extra
    return torch.from_numpy(np.asarray(content[begin : begin + entry.file_size]))


def _typed(stored: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The bytes as numbers; copied if they lie at an address that numbers of this dtype cannot have."""
    return (stored.clone() if stored.data_ptr() % dtype.itemsize else stored).view(dtype)


def _tree(spec: str) -> dict[str, Any]:
    version, tree = json.loads(spec)
    if version != _TREESPEC_VERSION:
        raise Unsupported(f"a tree of version {version}")
    return dict(tree)


def _arguments(call: dict[str, Any], count: int) -> tuple[list[str], list[str]]:
    """Names of the `count` inputs and of the params that a program is called with."""
    positional, keywords = _tree(call["in_spec"])["children_spec"]
    children = positional["children_spec"] + keywords["children_spec"]
    if len(positional["children_spec"]) != count or any(child["type"] is not None for child in children):
        raise Unsupported("inputs that are no tensors")
    return call["forward_arg_names"][:count], json.loads(keywords["context"])


def _are_same(params: dict[str, Any], constants: dict[str, Any]) -> bool:
    return params.keys() == constants.keys() and all(
        type(params[name]) is type(value) and params[name] == value for name, value in constants.items()
    )
