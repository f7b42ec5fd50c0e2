from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from etag_server import Server, started
from memory_replica import SaidRegistry
from memory_server import MemoryServer
from signet_torchserve import memory
from signet_torchserve.archive.golden import Golden
from signet_torchserve.control.rollout import Rollout, Superseded
from signet_torchserve.errors import NotServable
from signet_torchserve.memory_budget import MemoryBudget
from signet_torchserve.registry.changes import RegistryChanges
from signet_torchserve.revision import Revision
from signet_torchserve.server.client import TorchServe
from signet_torchserve.server.model_server import ModelServerError
from signet_torchserve.version_options import Options

EXAMPLE = {"inputs": [[1.5]]}


@contextmanager
def answering(answer: Callable[[Any], Any]) -> Iterator[TorchServe]:
    """A server of predictions on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answered = answer(request)
            body = json.dumps(answered).encode()
            self.send_response(answered.get("code", 200))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        torchserve = TorchServe(address, address)
        yield torchserve
        torchserve._session.close()
        server.shutdown()


def rollout_of(revision: Revision, registry: SaidRegistry, torchserve: Any = None) -> Rollout:
    """The rollout of a revision, of which steps can be tried that need no more."""
    unused: Any = None
    of: Any = registry
    return Rollout(
        "fare",
        revision,
        "other",
        serving=None,
        registry=of,
        server=torchserve,
        store=unused,
        budget=unused,
        turn=unused,
    )


def hold(answer: Callable[[Any], Any], **tags: str) -> None:
    """Hold a version that answers so to its example."""
    revision = Revision("1", {f"serving.{tag}": value for tag, value in tags.items()})
    with answering(answer) as torchserve:
        rollout = rollout_of(revision, SaidRegistry(), torchserve)
        rollout._options = Options.from_tags(revision.tags)
        rollout._check_golden(Golden(EXAMPLE))


def counting() -> Callable[[Any], Any]:
    """Answers that count the requests."""
    numbers = itertools.count()
    return lambda _: {"predictions": [float(next(numbers))]}


def moved_by_others() -> Callable[[Any], Any]:
    """Answers that another request changes."""
    seen = threading.Event()

    def answer(request: Any) -> Any:
        if request != EXAMPLE:
            seen.set()
            return {"predictions": [0.0]}
        seen.wait(10 if answers else 0)  # the first is asked alone
        answers.append(request)
        return {"predictions": [2.0 if seen.is_set() else 1.0]}

    answers = list[Any]()
    return answer


@pytest.mark.parametrize(("up", "asked_for"), [(0, [1, 3]), (1, [1, 3]), (2, [2, 3]), (3, [3]), (5, [3])])
def test_workers_that_are_up_go_on(up: int, asked_for: list[int], tmp_path: Path) -> None:
    """Of three, none ends for the rollout of a version that serves already, as after a restart.

    For each that is missing then, as much memory is reserved as one that is up takes.
    """
    server, ensure, asked = MemoryServer(), MemoryServer.ensure, list[int]()
    server.pids = (os.getpid(),) * max(1, up)
    reserved_mib = list[float]()

    class Budget(MemoryBudget):
        def reserved(self, needed_mib: float) -> AbstractContextManager[None]:
            reserved_mib.append(needed_mib)
            return super().reserved(needed_mib)

    if up:
        server.ensure("fare", "1", tmp_path, Options(workers=up))

    def noting(name: str, revision_id: str, folder: Path, options: Options) -> None:
        asked.append(options.workers)
        ensure(server, name, revision_id, folder, options)

    server.ensure = noting  # type: ignore[method-assign]  # to see what is asked for
    rollout = rollout_of(Revision("1", {}), SaidRegistry(), server)
    rollout._options = Options(workers=3)
    rollout._budget = Budget(frozenset())
    rollout._bring_up(tmp_path)
    assert asked == asked_for
    of_one_mib = memory.taken([os.getpid()], tmp_path).alone_mib
    assert reserved_mib == [
        pytest.approx((last - first) * of_one_mib, rel=0.1) for first, last in itertools.pairwise(asked)
    ]


@pytest.mark.parametrize("answer", [counting, moved_by_others])
def test_a_version_whose_answer_varies_is_refused(answer: Callable[[], Callable[[Any], Any]]) -> None:
    """Its answer varies from one request to the next, or beside another request; it serves if that is meant."""
    with pytest.raises(NotServable) as caught:
        hold(answer())
    assert "call model.eval() before logging it" in str(caught.value)
    hold(answer(), allow="random")


def test_a_version_whose_answer_is_the_same_is_not_refused() -> None:
    """Rounding is no difference, nor is what becomes of other requests."""
    numbers = itertools.count()
    hold(lambda request: {"predictions": [1 + next(numbers) * 1e-6 if request == EXAMPLE else float(next(numbers))]})


def test_a_version_that_has_served_is_not_asked_again() -> None:
    """A rollback must not fail for an answer that varies."""
    hold(counting(), served_at="2026-01-01")


def test_a_version_that_refuses_its_own_example_is_refused() -> None:
    """A 400 is final, so no second try would help; any other error may heal."""
    with pytest.raises(NotServable, match="The version refuses its own example: no float64"):
        hold(lambda _: {"code": 400, "message": "no float64"})
    with pytest.raises(ModelServerError, match="answered 503: no worker"):
        hold(lambda _: {"code": 503, "message": "no worker"})


server = pytest.fixture(started)


def test_what_the_registry_wants_is_asked_once_more_if_it_has_changed(server: Server) -> None:
    """Changes count since the look that began the rollout: a later look may know of one that the rollout does not."""
    registry = SaidRegistry()
    registry.changes = RegistryChanges(f"http://127.0.0.1:{server.server_port}")
    registry.changes.begin()
    rollout = rollout_of(Revision("1"), registry)
    registry.error = AssertionError("nothing has changed")
    rollout._check_still_desired()
    server.etag = '"2"'
    registry.error, registry.said = None, {"fare": Revision("2")}
    for _ in range(2):
        with pytest.raises(Superseded, match="version 2"):
            rollout._check_still_desired()
        registry.changes.begin()
