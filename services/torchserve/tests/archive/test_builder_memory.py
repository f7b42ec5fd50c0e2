"""A model's size is what the disk must hold, not the memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
import torch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak can be forgotten on Linux alone")

MIB = 1 << 20
SIZE = 192 * MIB
SPARE = 48 * MIB

MEASURE = """
import json, re, sys, threading
from pathlib import Path

def held(field):
    return int(re.search(rf"^{field}:\\s+(\\d+)", Path("/proc/self/status").read_text(), re.M)[1]) << 10

def peak_of(work):
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = held("VmRSS")
    work()
    return held("VmHWM") - before
"""


class Table(torch.nn.Module):
    """Looks rows up in a table of a given size in bytes."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.ones(size // 4 // 1024, 1024))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table[ids][:, :2]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of `SIZE`."""
    folder = tmp_path_factory.mktemp("large")
    return models.save(folder / "model", Table(SIZE), np.array([0, 1, 2]))


@pytest.fixture(scope="module")
def built(large: Path) -> dict[str, Any]:
    """Where the large model's archive lies, unpacked, and how much memory that took at most."""
    code = MEASURE + (
        "from signet_torchserve.archive import builder, digest\n"
        "import mlflow.models\n"
        "from signet_torchserve.revision import Revision\n"
        "from signet_torchserve.archive.store import Store\n"
        "model, home, small = map(Path, sys.argv[1:])\n"
        "store, revision = Store(home), Revision('1')\n"
        "def make(name, model):\n"
        "    digest.of_model(model)\n"
        "    builder.build(model, name, revision, store.archive(name, revision))\n"
        "    store.write_manifest(name, revision)\n"
        "    return store.unpack(name, revision)\n"
        "make('small', small)\n"  # what is imported on the way is not counted
        "peak = peak_of(lambda: make('large', model))\n"
        "print(json.dumps({'peak': peak, 'folder': str(store.unpacked('large', '1'))}))"
    )
    small = models.save(large.parent / "small", Table(4 * 4096), np.array([0, 1, 2]))
    return _measured(code, large, large.parent / "home", small)


def _measured(code: str, *arguments: Path) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_an_archive_is_built_and_unpacked_in_pieces(built: dict[str, Any]) -> None:
    """Digest, check, build, seal and unpack hold pieces of a model, never the whole of it."""
    assert built["peak"] < SPARE


def test_weights_are_mapped_not_read(built: dict[str, Any]) -> None:
    """A worker's weights are the file's own pages, which workers share and the system can take back at any time."""
    code = MEASURE + (
        "from signet_contract.model_input import ModelInput\n"
        "from signet_torchserve.model.program import Program\n"
        "import numpy as np, torch\n"
        "path = Path(sys.argv[1], 'model.pt2')\n"
        "before = held('RssAnon')\n"
        "program = Program(path)\n"
        "(answer,) = program.run([ModelInput(np.array([0, 40_000]), {}, framed=False)])\n"
        "constants = program._module._function.__globals__.values()\n"
        "everything = sum(float(value.sum()) for value in constants if isinstance(value, torch.Tensor))\n"
        "print(json.dumps({'own': held('RssAnon') - before, 'answer': answer.tolist(), 'sum': everything}))"
    )
    found = _measured(code, Path(built["folder"]))
    assert found["answer"] == [[1, 1], [1, 1]]
    assert found["sum"] == SIZE / 4
    assert found["own"] < SPARE
