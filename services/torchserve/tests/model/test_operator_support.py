"""Programs that call what this torch does not have: written by a newer one, or for another build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import pytest
import torch
from models import Formula, Server, rows
from signet_torchserve.archive.file_names import PROGRAM
from signet_torchserve.archive.load_failure import LoadFailure
from signet_torchserve.errors import NotServable

Nodes = list[dict[str, Any]]


def _operator(nodes: Nodes) -> None:
    nodes[0]["target"] = "torch.ops.aten.unheard.default"


def _overload(nodes: Nodes) -> None:
    nodes[0]["target"] = "torch.ops.aten.mul.Unheard"


def _argument(nodes: Nodes) -> None:
    nodes[0]["inputs"].append({"name": "unheard", "arg": {"as_bool": True}, "kind": 2})


def _of_a_branch(nodes: Nodes) -> None:
    (cond,) = (node for node in nodes if node["target"].endswith(".cond"))
    branches = [entry["arg"]["as_graph"]["graph"]["nodes"] for entry in cond["inputs"] if "as_graph" in entry["arg"]]
    _operator(branches[0])


def _dtype(nodes: Nodes) -> None:
    nodes[0]["target"] = "torch.ops.aten.to.dtype"
    nodes[0]["inputs"] = [
        nodes[0]["inputs"][0] | {"name": "self"},
        {"name": "dtype", "arg": {"as_scalar_type": 99}, "kind": 1},
    ]


@pytest.mark.parametrize(
    ("change", "function", "message"),
    [
        (
            _operator,
            lambda x: x * 2,
            "The program calls torch.ops.aten.unheard.default, which torch {} does not have",
        ),
        (_overload, lambda x: x * 2, "The program calls torch.ops.aten.mul.Unheard, which torch {} does not have"),
        (_argument, lambda x: x * 2, "The program calls torch.ops.aten.mul.Tensor with ['unheard'], which torch {} "),
        (
            _of_a_branch,
            lambda x: torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,)),
            "The program calls torch.ops.aten.unheard.default, which torch {} does not have",
        ),
        (_dtype, lambda x: x * 2, "torch {} cannot read its program: "),
    ],
)
def test_a_program_that_this_torch_cannot_read_is_refused_at_once(
    change: Callable[[Nodes], None], function: Any, message: str, tmp_path: Path
) -> None:
    """Its worker ends with the operator's name and torch's version, which is for good."""
    model = models.save(tmp_path / "model", Formula(function), rows(3, 2))
    unpacked = models.unpack(model, tmp_path / "served")
    models.rewrite(unpacked / PROGRAM, lambda program: change(program["graph_module"]["graph"]["nodes"]))
    with pytest.raises(NotServable) as caught:
        Server(unpacked)
    assert str(caught.value).startswith(message.format(torch.__version__))
    assert LoadFailure.of(unpacked) == LoadFailure(str(caught.value), is_final=True)


def test_what_ends_a_worker_otherwise_is_told_and_taken_back(tmp_path: Path) -> None:
    """What may heal is not final, and a worker that loads the version later removes it."""
    unpacked = models.unpack(models.save(tmp_path / "model", Formula(lambda x: x), rows(3, 2)), tmp_path / "served")
    options = (unpacked / "options.json").read_text()
    (unpacked / "options.json").unlink()
    with pytest.raises(FileNotFoundError):
        Server(unpacked)
    words = LoadFailure.of(unpacked)
    assert words is not None
    assert (words.is_final, "options.json" in words.reason) == (False, True)
    (unpacked / "options.json").write_text(options)
    Server(unpacked)
    assert LoadFailure.of(unpacked) is None
