"""Thirty deployments at once on one replica, which serves another one all the while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from testing import crowd
from testing.alias_moves import move, out_of_turn
from testing.steady import p99_ms

if TYPE_CHECKING:
    from testing.numbered_model import NumberedModel

QUIET_S = 3
PROMPTLY_S = 15


def test_crowd(numbered: NumberedModel) -> None:
    """They come into service, the one that serves goes on answering, and its rollback does not wait for them all."""
    with numbered.load() as load:
        moves = [move(numbered, "2", load)]
        began = time.monotonic()
        time.sleep(QUIET_S)
        quiet = load.since(began)
        came = crowd.deploy(numbered, "1", load)
        moves.append(came.rollback)
        busy = load.since(began + QUIET_S)
        gone_s = crowd.withdraw(numbered, came)
    exchanges = load.exchanges
    print(f"\n{len(came.names)} deployments serve after {came.duration_s:.0f} s and are gone after {gone_s:.0f} s more")
    print(f"rollback with {came.served_before} of them in service: {came.rollback}")
    print(f"{len(exchanges):,} requests; p99 {p99_ms(quiet):.0f} ms, meanwhile {p99_ms(busy):.0f} ms")
    assert [str(it) for it in exchanges if not it.is_right] == []
    assert [str(it) for it in out_of_turn(exchanges, "1", moves)] == []
    assert came.rollback.duration_s < PROMPTLY_S
    assert came.served_before < crowd.SIZE
