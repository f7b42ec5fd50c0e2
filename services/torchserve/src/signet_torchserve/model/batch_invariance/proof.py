"""Proves that a program is batch-invariant: no row of its output depends on another row of its input.

The dimension that holds the rows is followed from the input to the output, through every operator of the program. The
proof fails at an operator that has no rule in `shape_rules`, `layer_rules` or `index_rules`, or whose rule does not
hold. It does without torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from signet_torchserve.model.batch_invariance.index_rules import INDEX_RULES
from signet_torchserve.model.batch_invariance.layer_rules import LAYER_RULES
from signet_torchserve.model.batch_invariance.rule_input import Mixed, Rows, Step, Tensor
from signet_torchserve.model.batch_invariance.shape_rules import SHAPE_RULES
from signet_torchserve.model.batch_invariance.symbolic_size import Size, mentions
from signet_torchserve.model.operator_calls import Call, JsonGraph, names, symbols, tensors
from signet_torchserve.model.pt2_schema import LEAST_BOUND
from signet_torchserve.model.pure_function import is_random, returns_by_arguments

_INLINE = frozenset(("higher_order.wrap_with_set_grad_enabled", "higher_order.wrap_with_autocast"))
_RULES = {**SHAPE_RULES, **LAYER_RULES, **INDEX_RULES}
_BOOL = 12  # of torch's ScalarType
# Arguments that say how large a result is, which its rule looks at.
_SIZE_ARGUMENTS = frozenset(("size", "shape", "sizes", "repeats"))
_NO_ROWS = "the program's output has not one row for each row of the input"
# What a rule raises where an argument has a form that it does not know.
_RULE_ERRORS = (IndexError, KeyError, TypeError, ValueError)


def obstacle(program: dict[str, Any], *, is_vouched_for: bool = False) -> str:
    """Why requests must not share a forward pass of a program, as the end of a sentence; empty if they may.

    Args:
        program: the JSON of its `models/model.json`.
        is_vouched_for: whether its author says that its rows are independent; then this is not proven.

    Raises:
        KeyError: the program's JSON has another form than torch's; so can IndexError, TypeError and ValueError.
    """
    graph = program["graph_module"]["graph"]
    found = _input_and_output(program)
    if isinstance(found, str):
        return found
    given, returned, symbol = found
    if is_vouched_for:
        return ""
    try:
        rows_of = _Proof(graph, symbol).follow({given: Rows(0)})
    except Mixed as mixed:
        return f"{mixed} is not known to keep rows apart"
    return "" if rows_of.get(returned) == Rows(0) else _NO_ROWS


def _input_and_output(program: dict[str, Any]) -> str | tuple[str, str, str]:
    """Names of the input, the output and the symbol of the number of rows; or why requests cannot share a call."""
    module = program["graph_module"]
    graph, signature = module["graph"], module["signature"]
    inputs = [spec["user_input"]["arg"] for spec in signature["input_specs"] if "user_input" in spec]
    if len(inputs) != 1 or "as_tensor" not in inputs[0]:
        return f"the program has {len(inputs)} inputs: expected one tensor"
    given = inputs[0]["as_tensor"]["name"]
    sizes = _sizes(graph, given)
    if not sizes or not sizes[0].symbols:
        return f"the program takes batches of exactly {sizes[0].factor}" if sizes else "the program's input has no rows"
    symbol = sizes[0].symbols[0]
    if sizes[0] != Size(1, (symbol,)) or any(size.holds(symbol) for size in sizes[1:]) or _is_limited(program, symbol):
        return "the program does not take every number of rows"
    tree = json.loads(module["module_call_graph"][0]["signature"]["out_spec"])[1]
    outputs = [spec.get("user_output", {}).get("arg", {}) for spec in signature["output_specs"]]
    if len(outputs) != 1 or "as_tensor" not in outputs[0] or tree["type"] is not None:
        return "the program's output is not one tensor"
    returned = outputs[0]["as_tensor"]["name"]
    if _sizes(graph, returned)[:1] != sizes[:1]:
        return _NO_ROWS
    return given, returned, symbol


def _is_limited(program: dict[str, Any], rows: str) -> bool:
    """Whether some numbers of rows are refused: a request must not be answered because of its neighbours."""
    limits = program["range_constraints"].get(rows, {})
    least, most = limits.get("min_val"), limits.get("max_val")
    return (
        (least is not None and least > LEAST_BOUND)
        or most is not None
        or any(".size()[0]" in guard or mentions(guard, rows) for guard in program.get("guards_code", ()))
    )


def _sizes(graph: JsonGraph, tensor: str) -> list[Size]:
    return [Size.read(size) for size in graph["tensor_values"][tensor]["sizes"]]


@dataclass
class _Proof:
    """Follows the rows through one graph.

    Args:
        graph: of the program, or one that it calls.
        symbol: the number of rows in the graph's sizes.
    """

    graph: JsonGraph
    symbol: str

    def follow(self, rows_of: dict[str, Rows | None]) -> dict[str, Rows | None]:
        """Where the rows are in each value of the graph; None for a value that is the same whatever the rows are.

        Args:
            rows_of: where the rows are in each input of the graph that has rows.

        Raises:
            Mixed: an operator is not known to keep rows apart.
        """
        rows_of = dict(rows_of)
        for node in self.graph["nodes"]:
            call = Call(node)
            if call.computes_sizes:
                continue
            outcome = self._inline(call, rows_of) if call.operator in _INLINE else self._call(call, rows_of)
            rows_of.update(zip(call.outputs, outcome, strict=True))
        return rows_of

    def _inline(self, call: Call, rows_of: dict[str, Rows | None]) -> list[Rows | None]:
        (graph,) = call.graphs
        inner = zip(names(graph["inputs"]), call.operands, strict=True)
        found = _Proof(graph, self.symbol).follow({name: rows_of.get(operand) for name, operand in inner})
        return [found.get(name) for name in tensors(graph["outputs"])]

    def _call(self, call: Call, rows_of: dict[str, Rows | None]) -> list[Rows | None]:
        given = {name: self._tensor(name, rows_of.get(name)) for name in call.tensors}
        results = [self._tensor(name, None) for name in call.outputs]
        if call.operator == "aten.arange.default" and results[0].sizes == (Size(1, (self.symbol,)),):
            return [Rows(0, are_numbers=True)]
        # With `out=` an operator resizes the argument to its result: what is known of its rows holds no longer.
        if self._uses_row_count(call) or is_random(call) or returns_by_arguments(call) or not call.is_of_tensors:
            raise Mixed(call.operator)
        has_rows = any(tensor.rows for tensor in given.values())
        if not has_rows and not any(size.holds(self.symbol) for result in results for size in result.sizes):
            return [None] * len(results)
        step = Step(call, given, results, self.symbol)
        rows = self._by_rule(step, [tensor.rows for tensor in given.values() if tensor.rows])
        # An operator in place changes all that lies in the same memory: it must leave the rows where they were.
        if len(rows) != len(results) or not all(map(self._fits, results, rows)) or not step.stays_in_place(rows):
            raise Mixed(call.operator)
        return rows

    def _uses_row_count(self, call: Call) -> bool:
        """Whether an operator computes with the number of rows: its answer for a row would depend on the others."""
        others = [value for argument, value in call.arguments.items() if argument not in _SIZE_ARGUMENTS]
        return any(self._depends(name) for value in others for name in symbols(value))

    @staticmethod
    def _by_rule(step: Step, given: list[Rows]) -> list[Rows | None]:
        """Where the rows are in each result of an operator whose operands have the rows that are `given`."""
        rule = _RULES.get(step.name)
        # Rows' numbers may only choose rows: any other use makes an answer depend on its place in the batch.
        if rule is None or (any(rows.are_numbers for rows in given) and step.call.name != "index"):
            raise Mixed(step.call.operator)
        try:
            outcome = rule(step)
        except _RULE_ERRORS as error:
            raise Mixed(step.call.operator) from error
        return outcome if isinstance(outcome, list) else [outcome] * len(step.results)

    def _fits(self, result: Tensor, rows: Rows | None) -> bool:
        """Whether a result has the sizes, as torch found them, that follow from where a rule says its rows are."""
        for dim, size in enumerate(result.sizes):
            if rows is not None and dim == rows.dim:
                if size != rows.outer * Size(1, (self.symbol,)) * rows.inner:
                    return False
            elif size.holds(self.symbol):
                return False
        return rows is None or rows.dim < result.ndim

    def _depends(self, name: str) -> bool:
        for kind in ("sym_int_values", "sym_float_values", "sym_bool_values"):
            value = self.graph.get(kind, {}).get(name)
            if value is not None:
                return "as_expr" in value and mentions(value["as_expr"]["expr_str"], self.symbol)
        return True

    def _tensor(self, name: str, rows: Rows | None) -> Tensor:
        meta = self.graph["tensor_values"][name]
        return Tensor(tuple(map(Size.read, meta["sizes"])), rows, is_bool=meta["dtype"] == _BOOL)
