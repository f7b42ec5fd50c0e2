"""Whether this torch has all operators that a program calls: another torch may have exported it."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from signet_torchserve.errors import NotServable
from signet_torchserve.model.pt2_schema import program_json

_MODULES = {"torch": torch, "math": math, "_operator": operator}


def refuse_unsupported(path: Path) -> None:
    """Refuse a program with a call that this torch does not know.

    Args:
        path: the .pt2 file, as `archive` wrote it.

    Raises:
        NotServable: torch has no such operator, or the operator no such argument.
    """
    for target, arguments in _calls(program_json(path)["graph_module"]):
        try:
            function = _found(target)
        except AttributeError as error:
            raise NotServable(
                f"The program calls {target}, which torch {torch.__version__} does not have: export it with that torch."
            ) from error
        if isinstance(function, torch._ops.OpOverload):  # noqa: SLF001 -- has no public name
            known = {argument.name for argument in function._schema.arguments}  # noqa: SLF001 -- has no public name
            if unknown := sorted(arguments - known):
                raise NotServable(
                    f"The program calls {target} with {unknown}, which torch {torch.__version__} does not know: "
                    "export it with that torch."
                )


def _calls(document: Any) -> Iterator[tuple[str, set[str]]]:
    """Target and names of the arguments of each call, in the program and in the graphs that are arguments of it."""
    if isinstance(document, dict):
        if isinstance(document.get("target"), str) and isinstance(document.get("inputs"), list):
            yield document["target"], {entry["name"] for entry in document["inputs"]}
        for inner in document.values():
            yield from _calls(inner)
    elif isinstance(document, list):
        for inner in document:
            yield from _calls(inner)


def _found(target: str) -> Any:
    module, *names = target.split(".")
    return functools.reduce(getattr, names, _MODULES[module])
