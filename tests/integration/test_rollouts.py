"""The registry is the control plane: moving the alias deploys, and nobody notices but by the version."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import requests

from testing.alias_moves import move, out_of_turn
from testing.repository import ALIAS, MODEL, SAMPLES
from testing.steady import p99_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow import MlflowClient

    from testing.numbered_model import NumberedModel

QUIET_S = 3
NEW_VERSIONS = 10


def test_twenty_rollouts(numbered: NumberedModel) -> None:
    """Ten new versions, each rolled back at once, and a last one back when it has ended: no request notices it."""
    new = ["2", *(numbered.log() for _ in range(NEW_VERSIONS - 1))]
    with numbered.load() as load:
        time.sleep(QUIET_S)
        quiet = load.exchanges
        moves = [move(numbered, version, load) for number in new for version in (number, "1")]
        numbered.wait_until_ended(new[-1])
        moves.append(move(numbered, new[-1], load))
    exchanges = load.exchanges
    print()
    for each in moves:
        print(each)
    print(f"{len(exchanges):,} requests; p99 {p99_ms(quiet):.0f} ms, during the rollouts ", end="")
    print(f"{p99_ms(it for it in exchanges if it.sent > moves[0].asked):.0f} ms")
    assert [str(it) for it in exchanges if not it.is_right] == []
    assert [str(it) for it in out_of_turn(exchanges, "1", moves)] == []
    assert {it.version for it in exchanges} == {"1", *new}
    assert max(it.duration_s for it in moves) < 10
    assert moves[-1].duration_s < 5, "the old archive is in the local store"


def test_version_by_number(registry: MlflowClient, url: str, wait_for_version: Callable[[object], None]) -> None:
    """The champion's version can be asked for by its number, too, and it is that version which answers."""
    champion = registry.get_model_version_by_alias(MODEL, ALIAS).version
    wait_for_version(champion)
    answer = requests.put(f"{url}/{champion}", data=(SAMPLES / "sample.json").read_bytes(), timeout=10)
    assert (answer.status_code, answer.text, answer.headers["X-Model-Version"]) == (200, "SETOSA", str(champion))
