"""Rules for operators that look values up: where the rows are in their results.

As in `shape_rules`, a rule says where the rows are, or raises `Mixed`.
"""

from __future__ import annotations

from itertools import pairwise

from signet_torchserve.model.batch_invariance.rule_input import Outcome, Rows, Rule, Step
from signet_torchserve.model.batch_invariance.shape_rules import broadcast
from signet_torchserve.model.operator_calls import tensors


def _indexed_at(step: Step) -> Outcome:
    """`x[…]`: rows look up a table; or of each row the same places are taken; or of each row a place of its own."""
    subject = step.tensors()[0]
    ((_, entries),) = step.call.arguments["indices"].items()
    indices = step.tensors("indices")
    step.demand(not any(index.is_bool for index in indices))
    places = [place for place, entry in enumerate(entries) if tensors(entry)]
    step.demand(all(after - before == 1 for before, after in pairwise(places)))
    ndim = max(index.ndim for index in indices)
    numbers = [place for place, index in zip(places, indices, strict=True) if index.rows and index.rows.are_numbers]
    if numbers:  # x[arange(rows), places]: the index with the rows' numbers must stand in the dimension of the rows
        step.demand([Rows(number) for number in numbers] == [subject.rows])
    elif subject.rows is not None:
        step.demand(not any(index.rows for index in indices) and subject.rows.dim not in places)
        return subject.rows.at(subject.rows.dim + (ndim - len(places) if subject.rows.dim > places[0] else 0))
    rows = broadcast(step, indices)
    return rows.at(places[0] + rows.dim)


def _looked_up(step: Step) -> Outcome:
    """Each element gets a vector of a table, or its place in a table."""
    _, rows = step.lone({"embedding": "indices", "searchsorted": "self"}.get(step.name, ""))
    step.demand(step.name != "one_hot" or (step.call.value("num_classes") or -1) > 0)
    step.demand(step.name != "searchsorted" or step.tensors("sorted_sequence")[0].ndim == 1)
    return rows


INDEX_RULES: dict[str, Rule] = {
    **dict.fromkeys(("embedding", "one_hot", "bucketize", "searchsorted"), _looked_up),
    "index": _indexed_at,
}
