"""Calls of operators, as programs have them in JSON."""

from __future__ import annotations

from typing import Any

import pytest
from signet_torchserve.model import operator_calls
from signet_torchserve.model.operator_calls import Call


def node(target: str, *arguments: tuple[str, dict[str, Any]], outputs: tuple[str, ...] = ("y",)) -> dict[str, Any]:
    return {
        "target": target,
        "inputs": [{"name": name, "arg": argument} for name, argument in arguments],
        "outputs": [{"as_tensor": {"name": output}} for output in outputs],
    }


ADD = node(
    "torch.ops.aten.add_.Tensor",
    ("self", {"as_tensor": {"name": "x"}}),
    ("other", {"as_tensors": [{"name": "a"}, {"name": "b"}]}),
    ("alpha", {"as_int": 2}),
    ("size", {"as_sym_ints": [{"as_name": "s0"}, {"as_int": 3}]}),
    ("dtype", {"as_none": True}),
)
SIZE = node("_operator.mul", ("a", {"as_sym_int": {"as_name": "s0"}}), ("b", {"as_int": 2}), outputs=())
BRANCH = {"name": "true_graph", "graph": {"nodes": [ADD]}}
COND = node(
    "torch.ops.higher_order.cond",
    ("", {"as_tensor": {"name": "is_so"}}),
    ("", {"as_graph": BRANCH}),
    ("", {"as_tensors": [{"name": "x"}]}),
    ("", {"as_sym_int": {"as_name": "s0"}}),
)


@pytest.mark.parametrize(
    ("read", "operator", "name", "is_of_tensors", "computes_sizes"),
    [
        (ADD, "aten.add_.Tensor", "add_", True, False),
        (SIZE, "_operator.mul", "mul", False, True),
        (COND, "higher_order.cond", "cond", False, False),
    ],
)
def test_an_operator_is_told_by_its_name(
    read: dict[str, Any], operator: str, name: str, *, is_of_tensors: bool, computes_sizes: bool
) -> None:
    """Torch's own, one that computes sizes, and one that calls graphs."""
    call = Call(read)
    assert (call.operator, call.name) == (operator, name)
    assert (call.is_of_tensors, call.computes_sizes) == (is_of_tensors, computes_sizes)


def test_what_an_operator_is_given_is_found_by_name() -> None:
    """Tensors, also in lists; the value of a constant; none of what is computed; the default of what is missing."""
    call = Call(ADD)
    assert (call.tensors, call.outputs) == (["x", "a", "b"], ["y"])
    assert operator_calls.symbols(call.arguments["size"]) == ["s0"]
    assert [call.value(name, 7) for name in ("alpha", "dtype", "self", "size", "missing")] == [2, None, None, None, 7]
    constant = {"as_sym_ints": [{"as_int": 2}, {"as_int": 3}]}
    assert Call(node("torch.ops.aten.view.default", ("size", constant))).value("size") == [2, 3]


def test_calls_of_inner_graphs_are_calls_of_the_graph() -> None:
    """With what the operator hands to them, in its order."""
    call = Call(COND)
    assert call.graphs == [BRANCH["graph"]]
    assert (call.tensors, call.operands) == (["is_so", "x"], ["x", "s0"])
    assert [inner.name for inner in operator_calls.calls({"nodes": [SIZE, COND]})] == ["mul", "cond", "add_"]
