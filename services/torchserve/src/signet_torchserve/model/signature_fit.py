"""Whether a program takes what its signature admits, and returns what an answer can hold.

Every request to a program that is refused here would fail. What depends on a request's values is not checked here, nor
is the dtype of an input: some programs take any dtype.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np

from signet_torchserve.errors import NotServable
from signet_torchserve.model.pt2_schema import DTYPES, LAYOUTS, SCHEMA_VERSION

# Dtypes that numpy or JSON lack.
_UNANSWERABLE = frozenset({"complex32", "complex64", "complex128", "bfloat16"})

_NESTED = ("array", "object", "map")

Shape = Sequence[int]


def refuse_unread(program: dict[str, Any]) -> None:
    """Refuse a program whose torch wrote a JSON that our torch cannot read.

    Args:
        program: the JSON of its `models/model.json`.

    Raises:
        NotServable: its JSON has another version.
        KeyError: it has none.
    """
    version = program["schema_version"]
    if version["major"] != SCHEMA_VERSION:
        written = f", and was written by torch {program['torch_version']!s:.40}" if program.get("torch_version") else ""
        raise NotServable(
            f"The program has the schema version {version['major']}.{version.get('minor', 0)}{written}: expected "
            f"{SCHEMA_VERSION}, which torch {metadata.version('torch')} reads."
        )


def refuse_unfit(program: dict[str, Any], signature: dict[str, Any]) -> None:
    """Refuse a program whose inputs do not fit its model's signature, or whose outputs cannot be answered.

    Args:
        program: the JSON of its `models/model.json`.
        signature: the `signature` entry of its MLmodel file.

    Raises:
        NotServable: no request could be answered.
        KeyError: the program's JSON has another form than torch's; so can IndexError, TypeError and ValueError.
    """
    module = program["graph_module"]
    metas = module["graph"]["tensor_values"]
    call = module["module_call_graph"][0]["signature"]
    _refuse_inputs(module["signature"]["input_specs"], metas, call, signature)
    outputs = [spec["user_output"]["arg"] for spec in module["signature"]["output_specs"] if "user_output" in spec]
    for index, output in enumerate(outputs):
        _refuse_output(index, output, metas)


def _refuse_inputs(
    specs: list[dict[str, Any]], metas: dict[str, Any], call: dict[str, Any], signature: dict[str, Any]
) -> None:
    wanted = _wanted(json.loads(signature["inputs"]))
    params = [spec["name"] for spec in json.loads(signature.get("params") or "[]")]
    positional, keywords = json.loads(call["in_spec"])[1]["children_spec"]
    names = json.loads(keywords["context"])
    if len(positional["children_spec"]) != len(wanted):
        raise NotServable(
            f"The signature has {len(wanted)} inputs, but its program takes {len(positional['children_spec'])}."
        )
    if untaken := [name for name in params if name not in names]:
        raise NotServable(f"The signature has the params {untaken}, which its program does not take.")
    if unfed := [name for name in names if name not in params]:
        raise NotServable(f"The program needs the keywords {unfed}, which are no params of its signature.")
    if any(tree["type"] is not None for tree in positional["children_spec"]):
        raise NotServable("The program takes lists or dicts of tensors as one input: expected tensors.")
    # What `forward` takes in turn: a None among the tensors is a constant, and is refused below as no tensor.
    taken = [
        spec["user_input"]["arg"] if "user_input" in spec else spec["constant_input"]
        for spec in specs
        if "user_input" in spec or "constant_input" in spec
    ]
    order = call["forward_arg_names"] or []
    by_name = {name for name, _ in wanted} == set(order[: len(wanted)])  # as `Program` calls it
    if not by_name:
        _refuse_ambiguous_names([name for name, _ in wanted], order)
    for (name, shape), argument in zip(
        sorted(wanted, key=lambda item: order.index(item[0])) if by_name else wanted, taken, strict=False
    ):
        what = "input" if name is None else f"input {name!r}"
        if "as_tensor" not in argument:
            raise NotServable(f"The {what} of its program is no tensor.")
        sizes = [size.get("as_int", -1) for size in metas[argument["as_tensor"]["name"]]["sizes"]]
        if not _may_be(shape, sizes):
            raise NotServable(
                f"The {what} of its signature has the shape {tuple(shape)}, but its program takes {tuple(sizes)}."
            )


def _refuse_ambiguous_names(given: list[str | None], order: list[str]) -> None:
    """Refuse names that would be fed by their order, to other arguments than they seem to be meant for."""
    taken = order[: len(given)]
    if known := [name for name in given if name in order]:
        raise NotServable(
            f"The signature names the inputs {given}, of which its program takes {known} by name: expected all of "
            f"{taken}, or other names for all inputs."
        )
    spelled, places = list(map(_letters, given)), list(map(_letters, taken))
    if any(name in places and name != place for name, place in zip(spelled, places, strict=False)):
        raise NotServable(
            f"The signature names the inputs {given}, which would be fed in this order to {taken}: "
            "expected the same names, or the same order."
        )


def _letters(name: str | None) -> str | None:
    """The letters of a name, by which two spellings are the same: `attention-mask`, `Attention_Mask`."""
    return name and "".join(filter(str.isalnum, unicodedata.normalize("NFKC", name).casefold()))


def _wanted(inputs: list[dict[str, Any]]) -> list[tuple[str | None, Shape]]:
    """Name and shape of each tensor that a signature's requests are made into; -1 is any size."""
    if numbers := [spec["name"] for spec in inputs if not isinstance(spec.get("name"), str | None)]:
        raise NotServable(
            f"The signature names columns by the numbers {numbers}, and JSON names by texts: expected texts, "
            "as frame.columns.map(str) makes them for infer_signature."
        )
    if inputs[0]["type"] == "tensor":
        for spec in inputs:
            dtype = np.dtype(spec["tensor-spec"]["dtype"])
            if dtype.kind not in "biufc":
                raise NotServable(f"The signature has a tensor of {dtype}, which torch has not: expected numbers.")
        return [(spec.get("name"), spec["tensor-spec"]["shape"]) for spec in inputs]
    for index, spec in enumerate(inputs):
        if spec["type"] in _NESTED and spec.get("required", True):
            column = repr(spec.get("name", index))
            raise NotServable(
                f"Column {column} of its signature is of type {spec['type']}: expected a type that one number can have."
            )
    # All columns are one tensor, in which an optional column that is left out is NaN.
    return [(None, (-1, len(inputs)))]


def shapes(inputs: list[dict[str, Any]]) -> dict[str, Shape]:
    """Shape of each input of a signature, by its name or its place; -1 is any size.

    Raises:
        NotServable: no program takes such an input.
    """
    return {str(index if name is None else name): shape for index, (name, shape) in enumerate(_wanted(inputs))}


def _may_be(shape: Shape, other: Shape) -> bool:
    return len(shape) == len(other) and all(
        one == two or -1 in (one, two) for one, two in zip(shape, other, strict=True)
    )


def _refuse_output(index: int, output: dict[str, Any], metas: dict[str, Any]) -> None:
    if "as_tensor" not in output:
        raise NotServable(f"Output {index} of its program is no tensor: expected tensors, or lists or dicts of them.")
    meta = metas[output["as_tensor"]["name"]]
    dtype = DTYPES.get(meta["dtype"])
    if dtype is None or dtype in _UNANSWERABLE:
        dtype = dtype or "of a dtype that numpy has not"
        raise NotServable(f"Output {index} of its program is {dtype}: expected real numbers that numpy has too.")
    if meta["layout"] not in LAYOUTS:
        raise NotServable(f"Output {index} of its program is sparse: expected a dense tensor.")
