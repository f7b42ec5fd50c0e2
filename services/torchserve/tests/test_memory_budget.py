"""Whether there is memory for another version."""

from __future__ import annotations

from pathlib import Path

import pytest
from signet_torchserve.errors import NoRoom
from signet_torchserve.memory_budget import FORKED_MIB, REPLICA_MIB, SPARE_MIB, STARTED_ANEW_MIB, MemoryBudget
from signet_torchserve.revision import Revision
from signet_torchserve.switchable_pieces import Piece

MIB = 1 << 20


def _archive(folder: Path, mib: int) -> Path:
    mar = folder / "a.mar"
    with mar.open("wb") as file:
        file.truncate(mib * MIB)
    return mar


@pytest.mark.parametrize(
    ("weights", "workers", "pieces", "needed"),
    [
        (0, 1, set(Piece), FORKED_MIB),
        (300, 1, set(Piece), 300 + FORKED_MIB),
        (300, 4, set(Piece), 300 + 4 * FORKED_MIB),
        (300, 1, set(Piece) - {Piece.FORK}, 300 + STARTED_ANEW_MIB),
    ],
)
def test_needed(weights: int, workers: int, pieces: set[Piece], needed: float, tmp_path: Path) -> None:
    """Workers share the weights, and each worker takes its own memory besides."""
    assert MemoryBudget(pieces).needed_mib(_archive(tmp_path, weights), workers) == needed


@pytest.mark.parametrize(
    ("measured", "reserved", "needed", "is_refused"),
    [
        (1000, 0, 1000 - SPARE_MIB, False),
        (1000, 0, 1001 - SPARE_MIB, True),
        (1000, 500, 500 - SPARE_MIB, False),
        (1000, 500, 501 - SPARE_MIB, True),
        (SPARE_MIB, 0, 0, False),
        (SPARE_MIB - 50, 0, 1, True),
    ],
)
def test_reserved(measured: float, reserved: float, needed: float, *, is_refused: bool) -> None:
    """What rollouts reserved is taken, some stays free, and a refusal has the figures."""
    budget = MemoryBudget(measured_mib=lambda: measured)
    with budget.reserved(reserved):
        if is_refused:
            free = max(0, measured - reserved - SPARE_MIB)
            with pytest.raises(NoRoom, match=rf"needs {needed} MiB, and {free} MiB are free"), budget.reserved(needed):
                pass
        else:
            with budget.reserved(needed):
                assert budget.free_mib == measured - reserved - needed - SPARE_MIB
    assert budget.free_mib == max(0, measured - SPARE_MIB), "a reservation ends with its rollout"


def test_what_served_last_starts_while_there_is_room(tmp_path: Path) -> None:
    """Beside the replica's own, one after the other; the number of workers counts."""
    budget = MemoryBudget(measured_mib=lambda: REPLICA_MIB + SPARE_MIB + 300.0)
    mar = _archive(tmp_path, 100)
    workers = {"serving.workers": "20"}
    asked = [Revision("1"), Revision("2", workers), Revision("3"), Revision("4"), Revision("5")]
    assert [budget.reserve_at_start(mar, revision) for revision in asked] == [True, False, True, False, False]
