"""What changes for clients when one version follows another: what they may send, and what they get back.

A change is breaking if a request that was right is rejected from now on, or if the answer to it has another form. All
others are compatible.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson

from signet_contract.model_input import admits_shape

if TYPE_CHECKING:
    from signet_contract.contract import Contract

# Types of columns: whatever the first takes, the second takes too.
_WIDER = {("long", "float"), ("integer", "float"), ("datetime", "string"), ("binary", "string")}
_WIDER_PARAMS = {
    ("integer", "long"),
    ("integer", "float"),
    ("integer", "double"),
    ("long", "double"),
    ("float", "double"),
}

_JSON_KINDS = {
    **dict.fromkeys(("f", "float", "double"), "numbers"),
    **dict.fromkeys(("i", "u", "integer", "long"), "whole numbers"),
    **dict.fromkeys(("b", "boolean"), "booleans"),
}

Spec = dict[str, Any]

ChangeRule = Literal["inputs", "removed", "added", "required", "type", "shape", "params", "labels", "outputs", "policy"]
"""What of a contract has changed: the kind of its inputs, one of them, or what stands beside them."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference, by the rule that found it and as a sentence that says what it is for clients."""

    rule: ChangeRule
    is_breaking: bool
    text: str


def changes(old: Contract, new: Contract) -> list[Change]:
    """Every difference for clients of `old` when `new` takes its place, the breaking ones first."""
    found = [
        *_of_inputs(old, new),
        *_of_params(_by_name(old.params), _by_name(new.params)),
        *_of_outputs(old, new),
        *_of_policy(old.policy, new.policy),
    ]
    return sorted(found, key=lambda change: not change.is_breaking)


def _breaking(rule: ChangeRule, text: str) -> Change:
    return Change(rule, is_breaking=True, text=text)


def _compatible(rule: ChangeRule, text: str) -> Change:
    return Change(rule, is_breaking=False, text=text)


def _of_inputs(old: Contract, new: Contract) -> Iterator[Change]:
    kinds = [_kind(contract.inputs) for contract in (old, new)]
    if kinds[0] != kinds[1]:
        yield _breaking(
            "inputs", f"it takes {kinds[1]} instead of {kinds[0]}: every request of theirs would be refused"
        )
        return
    before, after = _by_name(old.inputs), _by_name(new.inputs)
    for name, spec in before.items():
        if name not in after:
            drops = "extra_columns" in new.policy
            yield Change(
                "removed",
                not drops,
                f"{_what(name, spec)} is gone: who sends it would be {'ignored' if drops else 'refused'}",
            )
            continue
        yield from _of_input(_what(name, spec), spec, after[name])
    for name, spec in after.items():
        if name not in before:
            required = spec.get("required", True)
            need = "is required: who leaves it out would be refused" if required else "may be sent"
            yield Change("added", is_breaking=required, text=f"{_what(name, spec)} is new and {need}")


def _of_input(what: str, old: Spec, new: Spec) -> Iterator[Change]:
    if old.get("required", True) != new.get("required", True):
        if new.get("required", True):
            yield _breaking("required", f"{what} is required: who leaves it out would be refused")
        else:
            yield _compatible("required", f"{what} may be left out")
    if old["type"] == "tensor":
        yield from _of_tensor(what, old["tensor-spec"], new["tensor-spec"])
    elif _type(old) != _type(new):
        yield _of_type("type", what, _type(old), _type(new), is_wider=(old["type"], new["type"]) in _WIDER)


def _of_tensor(what: str, old: Spec, new: Spec) -> Iterator[Change]:
    if old["dtype"] != new["dtype"]:
        is_wider = np.can_cast(old["dtype"], new["dtype"]) and old["dtype"] != "bool"
        yield _of_type("type", what, old["dtype"], new["dtype"], is_wider=is_wider)
    if old["shape"] != new["shape"]:
        is_wider = admits_shape(new["shape"], old["shape"])
        others = "other shapes, too" if is_wider else "who sends the old shape may be refused"
        yield Change(
            "shape",
            is_breaking=not is_wider,
            text=f"{what} has the shape {new['shape']} instead of {old['shape']}: {others}",
        )


def _of_type(rule: ChangeRule, what: str, old: Any, new: Any, *, is_wider: bool) -> Change:
    outcome = "what was right still is" if is_wider else f"who sends {old} may be refused"
    return Change(rule, is_breaking=not is_wider, text=f"{what} is {new} instead of {old}: {outcome}")


def _of_params(old: Mapping[str, Spec], new: Mapping[str, Spec]) -> Iterator[Change]:
    for name, spec in old.items():
        if name not in new:
            yield _breaking("params", f"param {name!r} is gone: who sends it would not be heard")
            continue
        if (spec["type"], spec.get("shape")) != (new[name]["type"], new[name].get("shape")):
            is_wider = (
                spec.get("shape") == new[name].get("shape") and (spec["type"], new[name]["type"]) in _WIDER_PARAMS
            )
            yield _of_type("params", f"param {name!r}", spec["type"], new[name]["type"], is_wider=is_wider)
        if spec.get("default") != new[name].get("default"):
            yield _compatible(
                "params", f"param {name!r} is {new[name].get('default')} by default, not {spec.get('default')}"
            )
    for name in new.keys() - old.keys():
        yield _compatible("params", f"param {name!r} is new and may be sent")


def _of_outputs(old: Contract, new: Contract) -> Iterator[Change]:
    if (old.labels is None) != (new.labels is None):
        forms = ("labels", "raw outputs") if new.labels is None else ("raw outputs", "labels")
        yield _breaking("labels", f"answers are {forms[1]} instead of {forms[0]}: who reads them would not understand")
        return
    if old.labels is not None and new.labels is not None:
        gone = sorted(set(old.labels.values()) - set(new.labels.values()))
        added = sorted(set(new.labels.values()) - set(old.labels.values()))
        if gone:
            yield _breaking("labels", f"the labels {gone} are answered no more: who waits for them would wait in vain")
        if added:
            yield _compatible("labels", f"the labels {added} are new")
        return
    # Where the signature says nothing of its outputs, nothing can be compared.
    before, after = (", ".join(map(_form, contract.outputs)) for contract in (old, new))
    if before and after and before != after:
        yield _breaking("outputs", f"outputs are {after} instead of {before}: who reads them may fail")


def _of_policy(old: frozenset[str], new: frozenset[str]) -> Iterator[Change]:
    for word in sorted(old - new):
        yield _breaking("policy", f"{word} is not allowed any more: who relies on it would be refused")
    for word in sorted(new - old):
        yield _compatible("policy", f"{word} is allowed")


def _kind(inputs: list[Spec]) -> str:
    what = "tensors" if inputs[0]["type"] == "tensor" else "columns"
    return f"{what} by name" if inputs[0].get("name") else f"{what} without names"


def _by_name(specs: list[Spec]) -> dict[str, Spec]:
    return {str(spec.get("name") or index): spec for index, spec in enumerate(specs)}


def _what(name: str, spec: Spec) -> str:
    kind = "input" if spec["type"] == "tensor" else "column"
    return f"{kind} {name!r}" if spec.get("name") else f"{kind} {name}"


def _type(spec: Spec) -> Any:
    """The type of a column; an object's with all that is in it."""
    inner = {key: value for key, value in spec.items() if key in ("properties", "items", "values")}
    return f"{spec['type']} {orjson.dumps(inner, option=orjson.OPT_SORT_KEYS).decode()}" if inner else spec["type"]


def _form(output: Spec) -> str:
    """What JSON shows of an output: numbers have a kind there and no width."""
    named = f"{output['name']!r}: " if output.get("name") else ""
    if output["type"] == "tensor":
        spec = output["tensor-spec"]
        return f"{named}{_JSON_KINDS.get(np.dtype(spec['dtype']).kind, spec['dtype'])} {spec['shape']}"
    return f"{named}{_JSON_KINDS.get(output['type'], _type(output))}"
