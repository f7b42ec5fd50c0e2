"""One call of an operator in a program's JSON (`models/model.json`), read without torch.

The format is that of torch/_export/serde/schema.py: an argument is an object with one key, its kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

JsonGraph = dict[str, Any]
Argument = dict[str, Any]

_PREFIX = "torch.ops."
_OF_SIZES = ("_operator.", "math.", "torch.sym_", "torch._sym_", "aten.sym_size", "aten.sym_numel", "aten.sym_stride")


@dataclass
class Call:
    """A node of a graph.

    Args:
        node: as the program's JSON has it.
    """

    node: dict[str, Any]

    @cached_property
    def operator(self) -> str:
        """The operator with its namespace and overload: `aten.add_.Tensor`, `higher_order.cond`, `_operator.mul`."""
        return str(self.node["target"]).removeprefix(_PREFIX)

    @cached_property
    def name(self) -> str:
        """The operator alone: `add_`."""
        return self.operator.split(".")[1]

    @property
    def is_of_tensors(self) -> bool:
        """Whether it is one of torch's operators on tensors; all other calls compute sizes or call graphs."""
        return self.operator.startswith(("aten.", "prims."))

    @property
    def computes_sizes(self) -> bool:
        """Whether it computes sizes from sizes alone."""
        return self.operator.startswith(_OF_SIZES) and not self.outputs

    @cached_property
    def arguments(self) -> dict[str, Argument]:
        """The arguments by their names in the operator's schema. One with its default value may be missing."""
        return {entry["name"]: entry["arg"] for entry in self.node["inputs"]}

    @cached_property
    def tensors(self) -> list[str]:
        """Names of all tensors that the operator is given."""
        return [name for entry in self.node["inputs"] for name in tensors(entry["arg"])]

    @cached_property
    def outputs(self) -> list[str]:
        """Names of all tensors that the operator returns."""
        return [name for output in self.node["outputs"] for name in tensors(output)]

    @cached_property
    def graphs(self) -> list[JsonGraph]:
        """Graphs that the operator may call: the branches of `cond`, the body of `no_grad`."""
        return [entry["arg"]["as_graph"]["graph"] for entry in self.node["inputs"] if "as_graph" in entry["arg"]]

    @cached_property
    def operands(self) -> list[str]:
        """Names of the tensors and sizes that the operator hands to its graphs, in their order."""
        last = max((index for index, entry in enumerate(self.node["inputs"]) if "as_graph" in entry["arg"]), default=-1)
        return [name for entry in self.node["inputs"][last + 1 :] for name in names(entry["arg"])]

    def value(self, name: str, default: Any = None) -> Any:
        """A constant argument; the default where it is missing, None where it is no constant."""
        argument = self.arguments.get(name)
        if argument is None:
            return default
        ((kind, value),) = argument.items()
        if kind == "as_none" or names(argument):
            return None
        if kind in {"as_sym_int", "as_sym_float", "as_sym_bool"}:
            (value,) = value.values()
        elif kind in {"as_sym_ints", "as_sym_floats"}:
            value = [next(iter(size.values())) for size in value]
        return value


def calls(graph: JsonGraph) -> Iterator[Call]:
    """All calls of a graph and of the graphs that they call."""
    for node in graph["nodes"]:
        call = Call(node)
        yield call
        for inner in call.graphs:
            yield from calls(inner)


def tensors(argument: Any) -> list[str]:
    """Names of the tensors in an argument, an input or an output, or in a list of them."""
    return [name for name, is_tensor in _named(argument) if is_tensor]


def symbols(argument: Any) -> list[str]:
    """Names of the sizes, and of what is computed from sizes, in an argument or a list of them."""
    return [name for name, is_tensor in _named(argument) if not is_tensor]


def names(argument: Any) -> list[str]:
    """Names of the tensors and sizes in an argument, an input or an output, or in a list of them."""
    return [name for name, _ in _named(argument)]


def _named(argument: Any) -> Iterator[tuple[str, bool]]:
    match argument:
        case {"as_graph": _}:
            return
        case {"as_name": str(name)}:
            yield name, False
        case {"name": str(name)}:
            yield name, True
        case dict():
            for inner in argument.values():
                yield from _named(inner)
        case list():
            for inner in argument:
                yield from _named(inner)
