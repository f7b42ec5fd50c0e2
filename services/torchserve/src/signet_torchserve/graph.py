"""A torch.export program that is read from its own JSON and run as straight calls of PyTorch's operators.

`torch.export.load` first imports a compiler, which costs each worker seconds and some 100 MB, and its modules compare
each call with the example that was exported. A program of ATen operators on plain tensors needs neither. One that
holds anything else is `Unsupported`, and is left to PyTorch.

The format is that of torch/_export/serde/schema.py.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from signet_torchserve.source import DTYPES, LAYOUTS, Source, Unsupported

_SCHEMA_VERSION = 8
_TREESPEC_VERSION = 1

_SYMBOL = re.compile(r"Symbol\('(\w+)'(?:, \w+=True)*\)")

# Shapes that a program remembers to be good; clients choose them.
_MAX_SHAPES = 1024

# What reading a document of another form than expected raises.
_UNREADABLE = (AttributeError, IndexError, KeyError, RecursionError, RuntimeError, StopIteration, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Form:
    """What tensor a program takes: its dtype, the size of each dimension or the symbol of a free one, an example."""

    dtype: torch.dtype
    sizes: tuple[int | str, ...]
    example: tuple[int, ...]

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self.sizes))}]"


class Graph:
    """A program on one device.

    Attributes:
        names: of its inputs, in their order.
        forms: of its inputs.

    Args:
        path: the .pt2 file.
        device: torch device it runs on, wherever it was exported.

    Raises:
        Unsupported: it is not made of ATen operators and plain tensors alone, or the file has another form.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                root = archive.namelist()[0].partition("/")[0]
                document = json.loads(archive.read(f"{root}/models/model.json"))
                tensors = _tensors(archive, f"{root}/data", device)
            if document["schema_version"]["major"] != _SCHEMA_VERSION:
                raise Unsupported(f"schema {document['schema_version']}")
            self._read(document, tensors, device)
        except (*_UNREADABLE, zipfile.BadZipFile, zlib.error) as error:
            raise Unsupported(f"{type(error).__name__}: {error}") from error

    def __call__(self, *inputs: torch.Tensor, **params: Any) -> Any:
        """What the exported module returns for `inputs`.

        Raises:
            ValueError: the program was not exported for inputs of these shapes, or for these params.
        """
        shapes = tuple([tensor.shape for tensor in inputs])
        if shapes not in self._admitted or params or self._params:
            self._admit(shapes, params)
        return self._function(*inputs)

    def _read(self, document: dict[str, Any], tensors: dict[str, torch.Tensor], device: torch.device) -> None:
        module = document["graph_module"]
        graph, signature = module["graph"], module["signature"]
        source = Source(device)
        metas: list[dict[str, Any]] = []
        constants: list[Any] = []
        for spec in signature["input_specs"]:
            ((kind, value),) = spec.items()
            match kind:
                case "user_input" if not constants:
                    name = value["arg"]["as_tensor"]["name"]
                    source.take(name)
                    metas.append(graph["tensor_values"][name])
                case "constant_input":
                    ((_, constant),) = value["value"].items()
                    constants.append(constant)
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
        self.forms = [_form(meta) for meta in metas]
        self.names, params = _arguments(call, len(metas))
        self._params = dict(zip(params, constants, strict=True))
        self._ranges = {
            name: (limits["min_val"], limits["max_val"]) for name, limits in document["range_constraints"].items()
        }
        self._admitted: dict[tuple[torch.Size, ...], None] = {}

    def _admit(self, shapes: tuple[torch.Size, ...], params: dict[str, Any]) -> None:
        """Refuse what `torch.export` would, and remember shapes that it would not."""
        if list(map(len, shapes)) != [len(form.sizes) for form in self.forms] or not self._fits(shapes):
            expected = ", ".join(f"{name} {form}" for name, form in zip(self.names, self.forms, strict=True))
            limits = ", ".join(f"{low} <= {name} <= {high}" for name, (low, high) in self._ranges.items())
            raise ValueError(
                f"Expected inputs of the shapes {expected}{limits and f' ({limits})'}, "
                f"but got {', '.join(str(list(shape)) for shape in shapes)}"
            )
        if not _are_same(params, self._params):
            raise ValueError(f"Expected the params {self._params}, for which it was exported, but got {params}")
        if len(self._admitted) >= _MAX_SHAPES:
            self._admitted.clear()
        self._admitted[shapes] = None

    def _fits(self, shapes: tuple[torch.Size, ...]) -> bool:
        symbols: dict[str, int] = {}
        for form, shape in zip(self.forms, shapes, strict=True):
            for expected, size in zip(form.sizes, shape, strict=True):
                if isinstance(expected, int):
                    if size != expected:
                        return False
                elif symbols.setdefault(expected, size) != size or not self._is_within(expected, size):
                    return False
        return True

    def _is_within(self, symbol: str, size: int) -> bool:
        low, high = self._ranges.get(symbol, (None, None))
        # To torch.export too, a lower bound of 2 is a bound for its own reasoning alone.
        return (low is None or low <= 2 or size >= low) and (high is None or size <= high)  # noqa: PLR2004


def _tensors(archive: zipfile.ZipFile, folder: str, device: torch.device) -> dict[str, torch.Tensor]:
    """Weights and constants by name; those that share a record share memory."""
    tensors: dict[str, torch.Tensor] = {}
    for part in ("weights", "constants"):
        config = json.loads(archive.read(f"{folder}/{part}/model_{part}_config.json"))["config"]
        records: dict[str, torch.Tensor] = {}
        for name, payload in config.items():
            record, meta = payload["path_name"], payload["tensor_meta"]
            if payload["use_pickle"] or meta["layout"] not in LAYOUTS:
                raise Unsupported(f"{name} is no plain tensor")
            if record not in records:
                content = np.frombuffer(archive.read(f"{folder}/{part}/{record}"), np.uint8)
                records[record] = torch.tensor(content).view(DTYPES[meta["dtype"]]).to(device)
            sizes, strides = ([size["as_int"] for size in meta[key]] for key in ("sizes", "strides"))
            tensors[name] = records[record].as_strided(sizes, strides, meta["storage_offset"]["as_int"])
    return tensors


def _form(meta: dict[str, Any]) -> Form:
    sizes: list[int | str] = []
    example = []
    for size in meta["sizes"]:
        if "as_int" in size:
            sizes.append(size["as_int"])
            example.append(size["as_int"])
            continue
        symbol = _SYMBOL.fullmatch(size["as_expr"]["expr_str"])
        if not symbol:
            raise Unsupported(f"an input of the size {size}")
        sizes.append(symbol[1])
        example.append(size["as_expr"]["hint"]["as_int"])
    return Form(DTYPES[meta["dtype"]], tuple(sizes), tuple(example))


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
