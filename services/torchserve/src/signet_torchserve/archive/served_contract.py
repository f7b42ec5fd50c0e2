"""What clients of a version rely on: its contract, and the sizes that its program takes of what the contract admits."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from signet_contract import Change, Contract

from signet_torchserve.archive.file_names import LABELS, MLMODEL, OPTIONS, PROGRAM
from signet_torchserve.errors import NotServable
from signet_torchserve.model import signature_fit
from signet_torchserve.model.shapes.accepted_sizes import AcceptedSizes
from signet_torchserve.model.shapes.guards import Guards

_WHOLE = ("long", "integer")
_EXACT_IN_FLOAT32 = 2**24
_MAX_NAMED = 10


@dataclass(frozen=True, slots=True)
class ServedContract:
    """The contract of a version that is served."""

    contract: Contract
    sizes: AcceptedSizes | None
    """What the program takes; None where that cannot be calculated."""

    @classmethod
    def of(cls, unpacked: Path) -> Self:
        """The contract of an unpacked archive."""
        labels = unpacked / LABELS
        contract = Contract.load(
            unpacked / MLMODEL,
            json.loads((unpacked / OPTIONS).read_text("utf-8"))["allow"],
            json.loads(labels.read_text("utf-8")) if labels.exists() else None,
        )
        sizes = None
        with contextlib.suppress(NotServable):  # an earlier version may serve with guards that nobody checked
            guards = Guards.of(unpacked / PROGRAM)
            sizes = AcceptedSizes(signature_fit.shapes(contract.inputs), guards)
        return cls(contract, sizes)

    def compare(self, previous: ServedContract) -> list[Change]:
        """What changes for clients of `previous` where this takes its place, the breaking changes first."""
        changes = [*self.contract.compare(previous.contract), *self._compare_sizes(previous.sizes)]
        return sorted(changes, key=lambda change: not change.is_breaking)

    def _compare_sizes(self, previous: AcceptedSizes | None) -> list[Change]:
        if previous is None or self.sizes is None:
            return []
        what = f"its program takes {self.sizes} instead of {previous}"
        if self.sizes.takes_less_than(previous):
            return [Change("shape", is_breaking=True, text=f"{what}: who sends other sizes would be refused")]
        if previous.takes_less_than(self.sizes):
            return [Change("shape", is_breaking=False, text=f"{what}: what was right still is")]
        return []

    def notes(self) -> list[str]:
        """What clients should know, whatever came before, each as a sentence."""
        found = []
        if self.sizes is not None and (narrower := self.sizes.narrower()):
            found.append(f"The program takes {narrower}, where the signature admits more.")
        whole = [_named(index, spec) for index, spec in enumerate(self.contract.inputs) if spec["type"] in _WHOLE]
        if whole:
            named = ", ".join(whole[:_MAX_NAMED])
            more = f" and {len(whole) - _MAX_NAMED} more" if len(whole) > _MAX_NAMED else ""
            found.append(
                f"The model gets {named}{more} as float32, and float32 rounds whole numbers beyond {_EXACT_IN_FLOAT32}."
            )
        return found


def _named(index: int, spec: dict[str, Any]) -> str:
    return f"column {spec['name']!r}" if spec.get("name") else f"column {index}"
