"""Memory that a program takes without writing to it, as `torch.empty` does, and which parts of it are written later.

It may be written at once, or part by part: `y[:, 0] = …` and then `y[:, 1:] = …`. Only parts along one dimension with
constant bounds are followed. Any other write is ignored: the memory still counts as unwritten.
"""

from __future__ import annotations

from dataclasses import dataclass

from signet_torchserve.model.operator_calls import Call, JsonGraph, names
from signet_torchserve.model.operator_kinds import WHOLE_VIEWS
from signet_torchserve.model.pt2_schema import NO_END


@dataclass(frozen=True, slots=True)
class _Part:
    """Places of a tensor along one of its dimensions; all places if there is no dimension."""

    whole: str
    dim: int | None = None
    places: range = range(0)


class WrittenParts:
    """Follows the tensors of one graph that lie in memory which was unwritten when an operator returned it.

    Args:
        graph: has the tensors.
    """

    def __init__(self, graph: JsonGraph) -> None:
        self._sizes = graph["tensor_values"]
        self._parts: dict[str, _Part] = {}
        self._written: dict[tuple[str, int], set[int]] = {}

    def take(self, tensor: str) -> None:
        """Begin to follow a tensor whose memory is unwritten, with its views."""
        self._parts[tensor] = _Part(tensor)

    def hand_on(self, operands: dict[str, str], inner: WrittenParts) -> None:
        """Let a called graph follow those of its inputs that are whole unwritten tensors here (`operands`)."""
        for name, operand in operands.items():
            if operand in self._parts and self._parts[operand].dim is None:
                inner.take(name)

    def note_view(self, call: Call) -> None:
        """Note which part of a followed tensor a call returns, if it returns one."""
        part = self._parts.get(next(iter(call.tensors), ""))
        if part is None or len(call.outputs) != 1:
            return
        (result,) = call.outputs
        if call.name in WHOLE_VIEWS and part.dim is None:
            self._parts[result] = _Part(result)
        elif call.name in {"slice", "select"}:
            dim = call.value("dim", 0) % len(self._sizes[call.tensors[0]]["sizes"])
            places = self._places(call, self._size(call.tensors[0], dim))
            if places is None:
                self._parts[result] = part
            elif places and part.dim is None:
                self._parts[result] = _Part(part.whole, dim, places)

    def write(self, tensor: str) -> bool:
        """Note that all of a tensor is written. Returns whether all of the memory that it lies in is written now."""
        part = self._parts.get(tensor)
        if part is None or part.dim is None:
            return part is not None
        written = self._written.setdefault((part.whole, part.dim), set())
        written.update(part.places)
        return len(written) == self._size(part.whole, part.dim)

    def _size(self, tensor: str, dim: int) -> int | None:
        size: int | None = self._sizes[tensor]["sizes"][dim].get("as_int")
        return size

    @staticmethod
    def _places(call: Call, size: int | None) -> range | None:
        """The places of a dimension that a call takes: None for all, an empty range if they are not known."""
        if call.name == "select":
            index = call.value("index")
            return range(size)[index : index + 1 or None] if size and type(index) is int else range(0)
        start, end, step = (call.value(name, default) for name, default in (("start", 0), ("end", None), ("step", 1)))
        is_constant = not any(names(call.arguments.get(name, {})) for name in ("start", "end", "step"))
        if is_constant and not start and step == 1 and (end is None or end > NO_END):
            return None
        return range(size)[start:end:step] if is_constant and size else range(0)
