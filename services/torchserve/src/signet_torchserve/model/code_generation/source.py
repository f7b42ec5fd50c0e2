"""Turns the calls of a program's graph into one Python function.

The function's source has only numbered names, and names of PyTorch's schemas: no text of the file is ever compiled.
"""

from __future__ import annotations

import json
import keyword
import math
import operator
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch

from signet_torchserve.model import pt2_schema
from signet_torchserve.model.safety_scan import is_operator

DTYPES = {number: getattr(torch, name) for number, name in pt2_schema.DTYPES.items()}
_LAYOUTS = {number: getattr(torch, name) for number, name in pt2_schema.LAYOUTS.items()}
_MEMORY_FORMATS = {number: getattr(torch, name) for number, name in pt2_schema.MEMORY_FORMATS.items()}
# How a constant argument of each kind is read; JSON has no infinities, so that floats can be texts.
_CONSTANTS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("as_int", "as_bool", "as_string", "as_ints", "as_bools", "as_strings"), lambda value: value),
    "as_none": lambda _: None,
    "as_float": float,
    "as_floats": lambda values: [float(value) for value in values],
    "as_complex": lambda parts: complex(float(parts["real"]), float(parts["imag"])),
    "as_scalar_type": lambda index: DTYPES[index],
    "as_memory_format": lambda index: _MEMORY_FORMATS[index],
    "as_layout": lambda index: _LAYOUTS[index],
}

# What programs compute their sizes with.
_ARITHMETIC = {
    f"{function.__module__}.{function.__name__}": function
    for function in (
        *(operator.add, operator.sub, operator.mul, operator.floordiv, operator.truediv, operator.mod, operator.pow),
        *(operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge, operator.neg, operator.pos),
        *(operator.and_, operator.or_, math.trunc),
        *(torch.sym_int, torch.sym_float, torch.sym_max, torch.sym_min, torch.sym_not, torch.sym_ite),
    )
}
_OPERATOR = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")


class Unsupported(Exception):
    """A program, or a file, that only PyTorch itself can read."""


class Source:
    """Python source of a graph on one device, wherever it was exported.

    Its methods raise `Unsupported`, or any other exception if the document has another form than expected.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._globals: dict[str, Any] = {}
        self._variables: dict[str, str] = {}  # the source's name of each value, by the file's name
        self._inputs: list[str] = []
        self._lines: list[str] = []
        self._last_use: dict[str, int] = {}

    def take(self, name: str) -> None:
        """Make a value of the graph an argument of the function."""
        self._inputs.append(self._assign(name))

    def hold(self, name: str, tensor: torch.Tensor) -> None:
        """Make a value of the graph a constant of the function."""
        self._variables[name] = self._constant(tensor)

    def call(self, node: dict[str, Any]) -> None:
        """Add the call of one operator."""
        target, given = node["target"], node["inputs"]
        function: Callable[..., Any]
        if target in _ARITHMETIC:
            function = _ARITHMETIC[target]
            arguments = [self._argument(entry["arg"]) for entry in given]
        else:
            overload = _operator(target)
            function = overload._op  # noqa: SLF001 -- the builtin: the public object wraps it in a Python call each time
            arguments = self._by_schema(overload._schema, {entry["name"]: entry["arg"] for entry in given})  # noqa: SLF001 -- has no public name
        call = f"{self._constant(function)}({', '.join(arguments)})"
        targets = ", ".join(map(self._target, node["outputs"])) or "_"
        self._lines.append(f"{targets} = {call}")

    def function(self, out_spec: dict[str, Any], outputs: list[dict[str, Any]]) -> Callable[..., Any]:
        """The function of the taken values that makes all calls and returns `outputs` in the structure `out_spec`."""
        leaves = map(self._argument, outputs)
        result = self._structure(out_spec, leaves)
        if next(leaves, None) is not None:
            raise Unsupported("outputs that its structure lacks")
        spent = defaultdict(list)
        for variable, line in self._last_use.items():
            spent[line].append(variable)
        body = [
            line + "".join(f"; {variable} = None" for variable in spent[index])  # frees its memory
            for index, line in enumerate(self._lines)
        ]
        text = "\n    ".join([f"def function({', '.join(self._inputs)}):", *body, f"return {result}"])
        exec(compile(text, "<graph>", "exec"), self._globals)  # noqa: S102 -- no text of the file is in it
        function: Callable[..., Any] = self._globals["function"]
        return function

    def _by_schema(self, schema: Any, given: dict[str, Any]) -> list[str]:
        arguments: list[str] = []
        by_position = True
        for argument in schema.arguments:
            by_position = by_position and argument.name in given and not argument.kwarg_only
            if argument.name in given:
                text = self._argument(given.pop(argument.name))
                if not by_position and keyword.iskeyword(argument.name):
                    raise Unsupported(f"{schema.name} with {argument.name}")
                arguments.append(text if by_position else f"{argument.name}={text}")
        if given:
            raise Unsupported(f"{schema.name} with {list(given)}")
        return arguments

    def _argument(self, argument: dict[str, Any]) -> str:
        ((kind, value),) = argument.items()
        match kind:
            case "as_tensor":
                return self._use(value["name"])
            case "as_name":
                return self._use(value)
            case "as_sym_int" | "as_sym_float" | "as_sym_bool" | "as_optional_tensor":
                return self._argument(value)
            case "as_tensors":
                return f"[{', '.join(self._use(tensor['name']) for tensor in value)}]"
            case "as_sym_ints" | "as_sym_floats" | "as_sym_bools" | "as_optional_tensors":
                return f"[{', '.join(map(self._argument, value))}]"
            case _:
                return self._constant(self._device if kind == "as_device" else _CONSTANTS[kind](value))

    def _structure(self, spec: dict[str, Any], leaves: Iterator[str]) -> str:
        kind, children = spec["type"], spec["children_spec"]
        match kind:
            case None:
                return next(leaves)
            case "builtins.tuple":
                return f"({''.join(f'{self._structure(child, leaves)}, ' for child in children)})"
            case "builtins.list":
                return f"[{', '.join(self._structure(child, leaves) for child in children)}]"
            case "builtins.dict":
                keys = map(self._constant, json.loads(spec["context"]))
                pairs = zip(keys, children, strict=True)
                return f"{{{', '.join(f'{key}: {self._structure(child, leaves)}' for key, child in pairs)}}}"
            case _:
                raise Unsupported(f"an output of the type {kind}")

    def _target(self, output: dict[str, Any]) -> str:
        ((kind, value),) = output.items()
        match kind:
            case "as_tensor":
                return self._assign(value["name"])
            case "as_sym_int" | "as_sym_float" | "as_sym_bool":
                return self._assign(value["as_name"])
            case "as_tensors":
                return f"[{', '.join(self._assign(tensor['name']) for tensor in value)}]"
            case "as_none":
                return "_"
            case _:
                raise Unsupported(f"an operator's output of the kind {kind}")

    def _assign(self, name: str) -> str:
        variable = self._variables[name] = f"v{len(self._last_use)}"
        self._last_use[variable] = len(self._lines)
        return variable

    def _use(self, name: str) -> str:
        variable = self._variables[name]
        if variable in self._last_use:
            self._last_use[variable] = len(self._lines)
        return variable

    def _constant(self, value: Any) -> str:
        name = f"c{len(self._globals)}"
        self._globals[name] = value
        return name


def _operator(target: str) -> Any:
    match = _OPERATOR.fullmatch(target)
    if not match or not is_operator(target):
        raise Unsupported(target)
    overload = getattr(getattr(torch.ops.aten, match[1]), match[2])
    if not isinstance(overload, torch._ops.OpOverload):  # noqa: SLF001 -- has no public name
        raise Unsupported(target)
    return overload
