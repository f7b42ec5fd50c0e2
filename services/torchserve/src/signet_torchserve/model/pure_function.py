"""Refuses a program whose answer is not a function of the request alone.

Such a program draws random numbers, takes the statistics of a batch as batch norm does in training, changes its own
state, or reads memory that nothing has written. All four are seen in its operators, their arguments and its signature,
without torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from signet_contract.policy import Policy

from signet_torchserve.errors import NotServable
from signet_torchserve.model.operator_calls import Call, JsonGraph, calls, names
from signet_torchserve.model.operator_kinds import (
    GROW,
    OUT_ARGUMENTS,
    OUT_OVERLOADS,
    OVERWRITE,
    OVERWRITE_IN_PART,
    RANDOM,
    UNWRITTEN,
    VIEWS,
    WRITES,
)
from signet_torchserve.model.written_parts import WrittenParts

_DROPOUTS = frozenset(
    name + in_place
    for name in ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "native_dropout")
    for in_place in ("", "_")
)
_RECURRENT = frozenset(("gru", "lstm", "rnn_relu", "rnn_tanh", "quantized_gru", "quantized_lstm"))
_ALWAYS_OF_THE_BATCH = frozenset(("_batch_norm_with_update", "_batch_norm_with_update_functional"))
_TRAINING = ("train", "training", "is_training")
_CHANGE_NO_VALUE = frozenset(("detach_", "requires_grad_"))
_LOOK_AT_NO_VALUE = ("sym_", "new_", "_assert_tensor_metadata")


def refuse_impure(program: dict[str, Any], allow: frozenset[str]) -> None:
    """Refuse a program whose answers depend on anything but the request.

    Args:
        program: the JSON of its `models/model.json`.
        allow: words of `signet_contract.policy`; with `random` among them the program may draw random numbers.

    Raises:
        NotServable: a second request could get another answer than the first.
        KeyError: the program's JSON has another form than torch's; so can IndexError, TypeError and ValueError.
    """
    module = program["graph_module"]
    graph = module["graph"]
    for call in filter(takes_statistics, calls(graph)):
        raise NotServable(
            f"The model was logged in training mode ({call.operator} takes the statistics of the rows that it is "
            "given), so that its answers depend on other rows: call model.eval() before logging it. A norm with "
            "track_running_stats=False has no other statistics."
        )
    if Policy.RANDOM not in allow:
        _refuse_random(graph)
    _refuse_declared_changes(module["signature"])
    _MemoryCheck().refuse(graph, _weights(module["signature"]))


def takes_statistics(call: Call) -> bool:
    """Whether an operator normalizes by the statistics of the batch, or keeps them."""
    if call.name in _ALWAYS_OF_THE_BATCH:
        return True
    if call.name == "instance_norm":
        return bool(call.value("use_input_stats")) and bool(names(call.arguments.get("running_mean", {})))
    return "batch_norm" in call.name and _is_training(call)


def draws_in_training(call: Call) -> bool:
    """Whether an operator draws random numbers because it is in training mode, as dropout does."""
    if not call.is_of_tensors or takes_statistics(call):
        return False
    is_training = _is_training(call) or (call.name == "native_dropout" and call.value("train") is None)
    return bool(call.value("dropout_p", 0.0)) or (is_training and _has_to_draw(call))


def _has_to_draw(call: Call) -> bool:
    """Whether an operator in training mode draws at all: dropout with a probability of 0 drops nothing."""
    if call.name in _DROPOUTS:
        return bool(call.value("p", 0.5))
    if call.name in _RECURRENT:  # between layers only
        return bool(call.value("dropout")) and call.value("num_layers") != 1
    if call.name.startswith("rrelu"):
        return bool(call.value("lower", 1 / 8) != call.value("upper", 1 / 3))
    return True


def is_random(call: Call) -> bool:
    """Whether an operator draws random numbers."""
    return (call.is_of_tensors and call.name in RANDOM) or draws_in_training(call)


def written(call: Call) -> list[str]:
    """Names of the tensors whose memory an operator writes to."""
    name = call.name
    if not call.is_of_tensors or name in _CHANGE_NO_VALUE:
        return []
    arguments = WRITES.get(name)
    if arguments is None:
        is_in_place = name.startswith("__i") or (name.endswith("_") and not name.endswith("__"))
        arguments = tuple(call.arguments)[:1] if is_in_place else ()
    if returns_by_arguments(call):
        arguments += tuple(OUT_ARGUMENTS.intersection(call.arguments))
    return [tensor for argument in arguments for tensor in names(call.arguments.get(argument, {}))]


def returns_by_arguments(call: Call) -> bool:
    """Whether an operator writes its results to arguments, as with `out=` in Python."""
    overload = call.operator.rpartition(".")[2]
    return overload in OUT_OVERLOADS or "out" in overload.lower()


def _is_training(call: Call) -> bool:
    return any(call.value(name) for name in _TRAINING)


def _refuse_random(graph: JsonGraph) -> None:
    for call in filter(draws_in_training, calls(graph)):
        raise NotServable(
            f"The model was logged in training mode ({call.operator} draws random numbers), so that its answers vary: "
            "call model.eval() before logging it. In torch.nn.functional dropout needs training=self.training. If the "
            "answers are meant to vary, set the tag serving.allow to random."
        )
    for call in filter(is_random, calls(graph)):
        raise NotServable(
            f"The model draws random numbers ({call.operator}), so that its answers vary. If that is meant, set the "
            "tag serving.allow to random."
        )


@dataclass(eq=False, slots=True)  # each object is another piece of memory
class _Memory:
    """The memory of a weight, or memory that an operator takes without writing to it, as `torch.empty` does."""

    weight: str = ""


_LiesIn = dict[str, frozenset[_Memory]]
"""Where each tensor may lie, if it lies in such memory."""


def _weights(signature: dict[str, Any]) -> _LiesIn:
    """The weights of a program, by the names of the inputs that get them."""
    lies_in: _LiesIn = {}
    for spec in signature["input_specs"]:
        ((kind, value),) = spec.items()
        if kind in {"parameter", "buffer", "tensor_constant"}:
            weight = f"{kind.removeprefix('tensor_')} {value[f'{kind}_name']!r}"
            lies_in[value["arg"]["name"]] = frozenset([_Memory(weight)])
    return lies_in


def _refuse_declared_changes(signature: dict[str, Any]) -> None:
    """Refuse a program whose signature says that it changes a weight."""
    for spec in signature["output_specs"]:
        ((kind, value),) = spec.items()
        if kind in {"buffer_mutation", "parameter_mutation"}:
            weight = kind.removesuffix("_mutation")
            raise _changes_state(f"{weight} {value[f'{weight}_name']!r}", kind)


class _MemoryCheck:
    """Refuses a program that writes to a weight, or reads memory of which a part is not written yet."""

    def __init__(self) -> None:
        self._unwritten: set[_Memory] = set()

    def refuse(self, graph: JsonGraph, weights: _LiesIn) -> None:
        """Check a program's outermost graph, and the graphs that it calls."""
        self._refuse_read("its output", self._check(graph, weights, WrittenParts(graph)))

    def _check(self, graph: JsonGraph, lies_in: _LiesIn, parts: WrittenParts) -> frozenset[_Memory]:
        """Check each call of a graph. Returns the memory that the graph's outputs may lie in.

        Args:
            graph: whose calls are checked.
            lies_in: where the graph's inputs may lie.
            parts: knows which of these inputs are unwritten memory; is told the parts of it that the graph writes.
        """
        lies_in = dict(lies_in)
        for node in graph["nodes"]:
            call = Call(node)
            memory = frozenset[_Memory]()
            for inner in call.graphs:
                inner_parts = WrittenParts(inner)
                parts.hand_on(_operands(call, inner), inner_parts)
                memory |= self._check(inner, _handed(call, inner, lies_in), inner_parts)
            if not call.graphs:
                memory = self._call(call, lies_in, parts)
            lies_in.update(dict.fromkeys(call.outputs, memory))
        return _of(lies_in, names(graph["outputs"]))

    def _call(self, call: Call, lies_in: _LiesIn, parts: WrittenParts) -> frozenset[_Memory]:
        """Check one operator. Returns the memory that its results may lie in."""
        targets = written(call)
        for memory in _of(lies_in, targets):
            if memory.weight:
                raise _changes_state(memory.weight, call.operator)
        # What is no operator on tensors, as Python's getitem, only hands them on.
        is_view = call.name in VIEWS or not call.is_of_tensors
        if not (is_view or call.name.startswith(_LOOK_AT_NO_VALUE) or call.name.endswith("_like")):
            self._read_and_write(call, targets, lies_in, parts)
        if call.name in GROW:
            raise _reads_unwritten(call.operator)
        parts.note_view(call)
        has_no_items = 0 in (call.value("size") or ())
        if call.is_of_tensors and call.name in UNWRITTEN and not has_no_items:
            return frozenset([self._take(call, parts)])
        return _of(lies_in, call.tensors if is_view else targets)

    def _read_and_write(self, call: Call, targets: list[str], lies_in: _LiesIn, parts: WrittenParts) -> None:
        """Refuse an operator that reads unwritten memory, and note which memory is written after it."""
        is_overwritten = call.name in OVERWRITE or returns_by_arguments(call)
        only_overwritten = targets if is_overwritten or call.name in OVERWRITE_IN_PART else []  # not read, that is
        read = [name for name in call.tensors if name not in only_overwritten]
        self._refuse_read(call.operator, _of(lies_in, read))
        for target in targets if is_overwritten else ():
            if parts.write(target):  # it was the last unwritten part of its memory
                self._unwritten -= _of(lies_in, [target])

    def _take(self, call: Call, parts: WrittenParts) -> _Memory:
        """The memory that an operator takes without writing to it."""
        taken = _Memory()
        self._unwritten.add(taken)
        for output in call.outputs:
            parts.take(output)
        return taken

    def _refuse_read(self, reader: str, memory: Iterable[_Memory]) -> None:
        if self._unwritten.intersection(memory):
            raise _reads_unwritten(reader)


def _changes_state(what: str, writer: str) -> NotServable:
    return NotServable(
        f"The model changes its {what} ({writer}) with each request, so that its answers depend on the requests "
        "before: expected a model whose state stays as it was logged."
    )


def _reads_unwritten(reader: str) -> NotServable:
    return NotServable(
        f"The model reads memory of which a part may not be written ({reader}), so that its answers vary: expected "
        "torch.zeros or torch.full in place of torch.empty, and no resize_."
    )


def _operands(call: Call, inner: JsonGraph) -> dict[str, str]:
    """The operand that each input of a called graph gets; empty if their numbers differ."""
    inputs = names(inner["inputs"])
    return dict(zip(inputs, call.operands, strict=True)) if len(inputs) == len(call.operands) else {}


def _handed(call: Call, inner: JsonGraph, lies_in: _LiesIn) -> _LiesIn:
    """Where each input of a called graph may lie: where its operand may; if that is not known, where any tensor may."""
    if operands := _operands(call, inner):
        return {name: lies_in.get(operand, frozenset()) for name, operand in operands.items()}
    return dict.fromkeys(names(inner["inputs"]), _of(lies_in, call.tensors))


def _of(lies_in: _LiesIn, tensors: Iterable[str]) -> frozenset[_Memory]:
    return frozenset[_Memory]().union(*(lies_in.get(name, frozenset()) for name in tensors))
