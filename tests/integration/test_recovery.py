"""What dies comes back, what is away doesn't take the predictions with it, and nothing is lost."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from testing.alias_moves import move
from testing.polling import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stack import Stack

    from testing.numbered_model import NumberedModel
    from testing.steady import Load

BACK_WITHIN_S = 20
SERVED_WITHIN_S = 10
CALM = 100
"""Requests, a second's, that are answered rightly one after the other when all is well."""


@pytest.fixture
def load(numbered: NumberedModel) -> Iterator[Load]:
    """A load from before the test until after it, on version 1."""
    with numbered.load() as load:
        until("a second of calm", lambda: _is_calm(load, 0), timeout_s=30)
        assert {it.version for it in load.exchanges} == {"1"}
        yield load


def _is_calm(load: Load, since: float) -> bool:
    recent = [it for it in load.since(since) if it.sent > since][-CALM:]
    return len(recent) == CALM and all(it.is_right for it in recent)


def _back_s(load: Load, since: float) -> float:
    """Seconds from `since` to the end of the last request that got no answer, once all are answered again."""
    until("every request is answered rightly again", lambda: _is_calm(load, since), timeout_s=60)
    return max((it.done - since for it in load.since(since) if it.is_lost), default=0.0)


def _wrong(load: Load) -> list[str]:
    """Answers that are not right, and no loss of which the client was told either."""
    return [str(it) for it in load.exchanges if not it.is_right and not it.is_lost]


# A worker whose forking process was killed is one of another one, or nobody's; it is found and followed all the same.
@pytest.mark.parametrize("part", ["enforcement", "forking", "worker", "java", "controller"])
def test_part_killed(stack: Stack, load: Load, part: str) -> None:
    """One of TorchServe's processes dies: the same version answers again within 20 s, and nobody wrongly meanwhile."""
    killed = time.monotonic()
    stack.kill_part(part)
    back_s = _back_s(load, killed)
    lost = sum(it.is_lost for it in load.exchanges)
    print(f"\n{part} killed: {lost} of {len(load.exchanges):,} requests lost, the last one after {back_s:.1f} s")
    assert _wrong(load) == []
    assert {it.version for it in load.exchanges} <= {"1", None}
    assert back_s < BACK_WITHIN_S
    assert part != "enforcement" or lost == 0, "what was asked is asked again"
    assert part != "forking" or lost == 0, "no worker needs it once it is forked"


@pytest.mark.parametrize("service", ["mlflow-server", "postgres", "store"])
def test_service_killed(stack: Stack, numbered: NumberedModel, load: Load, service: str) -> None:
    """What is behind the registry dies: it's back within 20 s with all that it had, and no request is lost to it."""
    before = _content(stack, numbered)
    killed = time.monotonic()
    stack.kill(stack.store if service == "store" else service)
    until(f"{service} is back", lambda: _content(stack, numbered) == before, timeout_s=BACK_WITHIN_S)
    print(f"\n{service} killed: it answers again after {time.monotonic() - killed:.1f} s")
    _assert_catches_up(numbered, load)


def test_restart_with_mlflow_away(stack: Stack, numbered: NumberedModel, load: Load) -> None:
    """With MLflow away, a TorchServe that starts anew serves what it had; then it catches up."""
    stack.stop("mlflow-server")
    try:
        killed = time.monotonic()
        stack.kill("torchserve")
        back_s = _back_s(load, killed)
        print(f"\ntorchserve killed while MLflow is away: it answers again after {back_s:.1f} s")
        assert {it.version for it in load.exchanges} <= {"1", None}
        assert back_s < BACK_WITHIN_S
    finally:
        stack.start("mlflow-server")
    _assert_catches_up(numbered, load, lost=True)


def _assert_catches_up(numbered: NumberedModel, load: Load, *, lost: bool = False) -> None:
    """The alias, moved to version 2 and back, is followed in time, and every request so far was answered rightly."""
    for version in ("2", "1"):
        moved = move(numbered, version, load)
        print(moved)
        assert moved.duration_s < SERVED_WITHIN_S
    assert _wrong(load) == []
    assert lost or not any(it.is_lost for it in load.exchanges)


def _content(stack: Stack, model: NumberedModel) -> dict[str, Any]:
    """What MLflow, Postgres and the S3 store have to keep between them of a model: versions, aliases and files."""

    def get(path: str, **query: str) -> requests.Response:
        answer = requests.get(f"{stack.mlflow_url}/api/2.0/{path}", query, timeout=5)
        answer.raise_for_status()
        return answer

    registered = get("mlflow/registered-models/get", name=model.name).json()["registered_model"]
    found = get("mlflow/model-versions/search", filter=f"name = '{model.name}'").json()["model_versions"]
    versions = {}
    for version in (each["version"] for each in found):
        where = get("mlflow/model-versions/get-download-uri", name=model.name, version=version).json()["artifact_uri"]
        program = get(f"mlflow-artifacts/artifacts{where.removeprefix('mlflow-artifacts:')}/data/model.pt2").content
        versions[version] = (where, hashlib.sha256(program).hexdigest())
    return {"aliases": registered["aliases"], "versions": versions}
