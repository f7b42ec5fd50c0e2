"""What changes for clients when one version follows another: what they may send, and what they get back.

A change is breaking if a request that was right is refused from now on, or if the answer to it has another form. All
others are compatible.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import yaml

from signet_torchserve import program_fit
from signet_torchserve.archive_layout import LABELS, MLMODEL, OPTIONS, PROGRAM
from signet_torchserve.errors import NotServable
from signet_torchserve.guards import Guards
from signet_torchserve.sizes import Sizes

# Of columns: whatever the first takes, the second takes too.
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

_WHOLE = ("long", "integer")
_EXACT_IN_FLOAT32 = 2**24
_MAX_NAMED = 10

Spec = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference, as a sentence that says what it is for clients."""

    is_breaking: bool
    text: str


@dataclass(frozen=True, slots=True)
class Contract:
    """What clients of one version rely on."""

    inputs: list[Spec]
    outputs: list[Spec]
    params: list[Spec]
    allow: frozenset[str]
    labels: Mapping[str, str] | None
    sizes: Sizes | None = None
    """What the program takes; None where that cannot be calculated, or nothing is known of the program."""

    @classmethod
    def of(cls, unpacked: Path) -> Self:
        """That of an unpacked archive."""
        signature = yaml.safe_load((unpacked / MLMODEL).read_text("utf-8"))["signature"]
        labels = unpacked / LABELS
        inputs = json.loads(signature["inputs"])
        sizes = None
        with contextlib.suppress(NotServable):  # an earlier version may serve with guards that nobody checked
            guards = Guards.of(unpacked / PROGRAM)
            sizes = Sizes(program_fit.shapes(inputs), guards)
        return cls(
            inputs=inputs,
            outputs=json.loads(signature.get("outputs") or "[]"),
            params=json.loads(signature.get("params") or "[]"),
            allow=frozenset(json.loads((unpacked / OPTIONS).read_text("utf-8"))["allow"]),
            labels=json.loads(labels.read_text("utf-8")) if labels.exists() else None,
            sizes=sizes,
        )


def changes(old: Contract, new: Contract) -> list[Change]:
    """Every difference for clients of `old` when `new` takes its place, the breaking ones first."""
    found = [
        *_of_inputs(old, new),
        *_of_sizes(old, new),
        *_of_params(_by_name(old.params), _by_name(new.params)),
        *_of_outputs(old, new),
        *_of_relaxations(old.allow, new.allow),
    ]
    return sorted(found, key=lambda change: not change.is_breaking)


def notes(version: Contract) -> list[str]:
    """What clients of a version should know, whatever came before it, each as a sentence."""
    found = []
    if version.sizes is not None and (narrower := version.sizes.narrower()):
        found.append(f"The program takes {narrower}, where the signature admits more.")
    whole = [_what(name, spec) for name, spec in _by_name(version.inputs).items() if spec["type"] in _WHOLE]
    if whole:
        named = ", ".join(whole[:_MAX_NAMED])
        more = f" and {len(whole) - _MAX_NAMED} more" if len(whole) > _MAX_NAMED else ""
        found.append(
            f"The model gets {named}{more} as float32, and float32 rounds whole numbers beyond {_EXACT_IN_FLOAT32}."
        )
    return found


def _breaking(text: str) -> Change:
    return Change(is_breaking=True, text=text)


def _compatible(text: str) -> Change:
    return Change(is_breaking=False, text=text)


def _of_inputs(old: Contract, new: Contract) -> Iterator[Change]:
    kinds = [_kind(contract.inputs) for contract in (old, new)]
    if kinds[0] != kinds[1]:
        yield _breaking(f"it takes {kinds[1]} instead of {kinds[0]}: every request of theirs would be refused")
        return
    before, after = _by_name(old.inputs), _by_name(new.inputs)
    for name, spec in before.items():
        if name not in after:
            drops = "extra_columns" in new.allow
            yield Change(
                not drops, f"{_what(name, spec)} is gone: who sends it would be {'ignored' if drops else 'refused'}"
            )
            continue
        yield from _of_input(_what(name, spec), spec, after[name])
    for name, spec in after.items():
        if name not in before:
            required = spec.get("required", True)
            need = "is required: who leaves it out would be refused" if required else "may be sent"
            yield Change(is_breaking=required, text=f"{_what(name, spec)} is new and {need}")


def _of_input(what: str, old: Spec, new: Spec) -> Iterator[Change]:
    if old.get("required", True) != new.get("required", True):
        if new.get("required", True):
            yield _breaking(f"{what} is required: who leaves it out would be refused")
        else:
            yield _compatible(f"{what} may be left out")
    if old["type"] == "tensor":
        yield from _of_tensor(what, old["tensor-spec"], new["tensor-spec"])
    elif _type(old) != _type(new):
        yield _of_type(what, _type(old), _type(new), is_wider=(old["type"], new["type"]) in _WIDER)


def _of_tensor(what: str, old: Spec, new: Spec) -> Iterator[Change]:
    if old["dtype"] != new["dtype"]:
        is_wider = np.can_cast(old["dtype"], new["dtype"]) and old["dtype"] != "bool"
        yield _of_type(what, old["dtype"], new["dtype"], is_wider=is_wider)
    if old["shape"] != new["shape"]:
        is_wider = len(old["shape"]) == len(new["shape"]) and all(
            size in (-1, before) for before, size in zip(old["shape"], new["shape"], strict=True)
        )
        others = "other shapes, too" if is_wider else "who sends the old shape may be refused"
        yield Change(
            is_breaking=not is_wider, text=f"{what} has the shape {new['shape']} instead of {old['shape']}: {others}"
        )


def _of_type(what: str, old: Any, new: Any, *, is_wider: bool) -> Change:
    outcome = "what was right still is" if is_wider else f"who sends {old} may be refused"
    return Change(is_breaking=not is_wider, text=f"{what} is {new} instead of {old}: {outcome}")


def _of_sizes(old: Contract, new: Contract) -> Iterator[Change]:
    if old.sizes is None or new.sizes is None:
        return
    what = f"its program takes {new.sizes} instead of {old.sizes}"
    if new.sizes.takes_less_than(old.sizes):
        yield _breaking(f"{what}: who sends other sizes would be refused")
    elif old.sizes.takes_less_than(new.sizes):
        yield _compatible(f"{what}: what was right still is")


def _of_params(old: Mapping[str, Spec], new: Mapping[str, Spec]) -> Iterator[Change]:
    for name, spec in old.items():
        if name not in new:
            yield _breaking(f"param {name!r} is gone: who sends it would not be heard")
            continue
        if (spec["type"], spec.get("shape")) != (new[name]["type"], new[name].get("shape")):
            is_wider = (
                spec.get("shape") == new[name].get("shape") and (spec["type"], new[name]["type"]) in _WIDER_PARAMS
            )
            yield _of_type(f"param {name!r}", spec["type"], new[name]["type"], is_wider=is_wider)
        if spec.get("default") != new[name].get("default"):
            yield _compatible(f"param {name!r} is {new[name].get('default')} by default, not {spec.get('default')}")
    for name in new.keys() - old.keys():
        yield _compatible(f"param {name!r} is new and may be sent")


def _of_outputs(old: Contract, new: Contract) -> Iterator[Change]:
    if (old.labels is None) != (new.labels is None):
        forms = ("labels", "raw outputs") if new.labels is None else ("raw outputs", "labels")
        yield _breaking(f"answers are {forms[1]} instead of {forms[0]}: who reads them would not understand")
        return
    if old.labels is not None and new.labels is not None:
        gone = sorted(set(old.labels.values()) - set(new.labels.values()))
        added = sorted(set(new.labels.values()) - set(old.labels.values()))
        if gone:
            yield _breaking(f"the labels {gone} are answered no more: who waits for them would wait in vain")
        if added:
            yield _compatible(f"the labels {added} are new")
        return
    # Where the signature says nothing of its outputs, nothing can be compared.
    before, after = (", ".join(map(_form, contract.outputs)) for contract in (old, new))
    if before and after and before != after:
        yield _breaking(f"outputs are {after} instead of {before}: who reads them may fail")


def _of_relaxations(old: frozenset[str], new: frozenset[str]) -> Iterator[Change]:
    for word in sorted(old - new):
        yield _breaking(f"{word} is not allowed any more: who relies on it would be refused")
    for word in sorted(new - old):
        yield _compatible(f"{word} is allowed")


def _kind(inputs: list[Spec]) -> str:
    what = "tensors" if inputs[0]["type"] == "tensor" else "columns"
    return f"{what} by name" if inputs[0].get("name") else f"{what} without names"


def _by_name(specs: list[Spec]) -> dict[str, Spec]:
    return {str(spec.get("name") or index): spec for index, spec in enumerate(specs)}


def _what(name: str, spec: Spec) -> str:
    kind = "input" if spec["type"] == "tensor" else "column"
    return f"{kind} {name!r}" if spec.get("name") else f"{kind} {name}"


def _type(spec: Spec) -> Any:
    """Of a column; an object's with all that is in it."""
    inner = {key: value for key, value in spec.items() if key in ("properties", "items", "values")}
    return f"{spec['type']} {json.dumps(inner, sort_keys=True)}" if inner else spec["type"]


def _form(output: Spec) -> str:
    """What JSON shows of an output: numbers have a kind there and no width."""
    named = f"{output['name']!r}: " if output.get("name") else ""
    if output["type"] == "tensor":
        spec = output["tensor-spec"]
        return f"{named}{_JSON_KINDS.get(np.dtype(spec['dtype']).kind, spec['dtype'])} {spec['shape']}"
    return f"{named}{_JSON_KINDS.get(output['type'], _type(output))}"
