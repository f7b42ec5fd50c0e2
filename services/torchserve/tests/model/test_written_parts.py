from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from programs import document, floats, of
from signet_torchserve.model.operator_calls import Call
from signet_torchserve.model.operator_kinds import UNWRITTEN
from signet_torchserve.model.written_parts import WrittenParts


def is_completed(write: Callable[[torch.Tensor], Any]) -> bool:
    """Whether a program has written all of four columns of memory."""

    def program(x: torch.Tensor) -> torch.Tensor:
        result = torch.empty(x.shape[0], 4)
        write(result)
        return result

    graph = document(of(program), floats(5, 4))["graph_module"]["graph"]
    memory = WrittenParts(graph)
    completed = False
    for call in map(Call, graph["nodes"]):
        memory.note_view(call)
        if call.name in UNWRITTEN:
            memory.take(*call.outputs)
        if call.name == "zero_":
            completed |= memory.write(call.tensors[0])
    return completed


@pytest.mark.parametrize(
    ("write", "completed"),
    [
        (lambda y: y.zero_(), True),
        (lambda y: y[:].mT.unsqueeze(0).zero_(), True),
        (lambda y: [y[:, place].zero_() for place in (3, -3, 0, 2)], True),
        (lambda y: [y[:, :3].zero_(), y[:, 2:].zero_()], True),
        (lambda y: [y[:, ::2].zero_(), y[:, 1::2].zero_()], True),
        (lambda y: y.shape, False),
        (lambda y: [y[:, 1:].zero_(), y[:, -1].zero_()], False),
        (lambda y: [y[:, :2].zero_(), y[:, 2:][:, 1:].zero_()], False),
        (lambda y: [y[:1].zero_(), y[1:].zero_()], False),  # how many rows there are is not known
        (lambda y: [y[:, :2].zero_(), y.mT[2:, 0].zero_()], False),
        (lambda y: y.reshape(2, -1)[0].zero_(), False),
        (lambda y: y.mT.reshape(-1).zero_(), False),  # a copy
    ],
)
def test_memory_is_written_when_all_its_places_are(write: Callable[[torch.Tensor], Any], *, completed: bool) -> None:
    """At once or part by part, through views that are sure to be of it."""
    assert is_completed(write) is completed
