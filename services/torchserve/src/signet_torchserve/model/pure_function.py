"""Refuses a program whose answer is not a function of the request alone.

Such a program draws random numbers, takes the statistics of a batch as batch norm does in training, changes its own
state, or reads memory that nothing has written. All four are seen in its operators and their arguments, without torch.
"""

from __future__ import annotations

from collections.abc import Iterable
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
from signet_torchserve.model.unwritten_memory import UnwrittenMemory

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
    """Hold a program to answers that depend on the request alone.

    Args:
        program: the JSON of its `models/model.json`.
        allow: words of `signet_contract.policy` that hold; `random` admits what draws random numbers, and nothing else.

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
    _Memory(module["signature"]).refuse_changes(graph)


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
    """Whether anything is left to chance in training mode: dropout with a probability of 0 drops nothing."""
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


class _Memory:
    """Which values of a program lie in the memory of its weights, and which in memory that is not written yet.

    Args:
        signature: the program's, with its weights and what it says of itself that it changes.
    """

    def __init__(self, signature: dict[str, Any]) -> None:
        self._unwritten: set[str] = set()
        self._weights: dict[str, frozenset[str]] = {}
        for spec in signature["input_specs"]:
            ((kind, value),) = spec.items()
            if kind in {"parameter", "buffer", "tensor_constant"}:
                what = f"{kind.removeprefix('tensor_')} {value[f'{kind}_name']!r}"
                self._weights[value["arg"]["name"]] = frozenset([what])
        for spec in signature["output_specs"]:
            ((kind, value),) = spec.items()
            if kind in {"buffer_mutation", "parameter_mutation"}:
                weight = kind.removesuffix("_mutation")
                raise _state_moves(f"{weight} {value[f'{weight}_name']!r}", kind)

    def refuse_changes(self, graph: JsonGraph) -> None:
        """Refuse a graph that writes to a weight, or reads what nothing has written."""
        held = self._follow(graph, self._weights, UnwrittenMemory(graph))
        self._read("its output", held)

    def _follow(self, graph: JsonGraph, held: dict[str, frozenset[str]], unwritten: UnwrittenMemory) -> frozenset[str]:
        """Memory that the outputs of a graph may lie in.

        Args:
            graph: whose calls are followed.
            held: memory that each of its inputs may lie in, by their names.
            unwritten: those of its inputs that nothing has written.
        """
        held = dict(held)
        for node in graph["nodes"]:
            call = Call(node)
            memory = frozenset[str]()
            for inner in call.graphs:
                inside = UnwrittenMemory(inner)
                unwritten.hand_on(_operands(call, inner), inside)
                memory |= self._follow(inner, _handed(call, inner, held), inside)
            if not call.graphs:
                memory = self._call(call, held, unwritten)
            held.update(dict.fromkeys(call.outputs, memory))
        return _of(held, names(graph["outputs"]))

    def _call(self, call: Call, held: dict[str, frozenset[str]], unwritten: UnwrittenMemory) -> frozenset[str]:
        """Memory that the results of one operator may lie in."""
        targets = written(call)
        for memory in _of(held, targets):
            if memory.startswith(_EMPTY):
                continue
            raise _state_moves(memory, call.operator)
        is_view = call.name in VIEWS or not call.is_of_tensors
        if not (is_view or call.name.startswith(_LOOK_AT_NO_VALUE) or call.name.endswith("_like")):
            is_overwritten = call.name in OVERWRITE or returns_by_arguments(call)
            unread = targets if is_overwritten or call.name in OVERWRITE_IN_PART else []
            self._read(call.operator, _of(held, (name for name in call.tensors if name not in unread)))
            if is_overwritten:
                self._unwritten -= _of(held, filter(unwritten.write, targets))
        if call.name in GROW:
            raise _reads_nothing(call.operator)
        unwritten.follow(call)
        if call.is_of_tensors and call.name in UNWRITTEN and 0 not in (call.value("size") or ()):
            memory = f"{_EMPTY}{call.outputs}"
            self._unwritten.add(memory)
            for output in call.outputs:
                unwritten.take(output)
            return frozenset([memory])
        return _of(held, call.tensors if is_view else targets)

    def _read(self, reader: str, memory: Iterable[str]) -> None:
        if self._unwritten.intersection(memory):
            raise _reads_nothing(reader)


_EMPTY = "empty "


def _state_moves(what: str, writer: str) -> NotServable:
    return NotServable(
        f"The model changes its {what} ({writer}) with each request, so that its answers depend on the requests "
        "before: expected a model whose state stays as it was logged."
    )


def _reads_nothing(reader: str) -> NotServable:
    return NotServable(
        f"The model reads memory of which a part may not be written ({reader}), so that its answers vary: expected "
        "torch.zeros or torch.full in place of torch.empty, and no resize_."
    )


def _operands(call: Call, inner: JsonGraph) -> dict[str, str]:
    """What the inputs of a graph are called where an operator calls it; nothing if they can't be told apart."""
    inputs = names(inner["inputs"])
    return dict(zip(inputs, call.operands, strict=True)) if len(inputs) == len(call.operands) else {}


def _handed(call: Call, inner: JsonGraph, held: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Memory that the inputs of a graph may lie in, which an operator calls; if they can't be told apart, all of it."""
    if operands := _operands(call, inner):
        return {name: held.get(operand, frozenset()) for name, operand in operands.items()}
    return dict.fromkeys(names(inner["inputs"]), _of(held, call.tensors))


def _of(held: dict[str, frozenset[str]], tensors: Iterable[str]) -> frozenset[str]:
    return frozenset[str]().union(*(held.get(name, frozenset()) for name in tensors))
