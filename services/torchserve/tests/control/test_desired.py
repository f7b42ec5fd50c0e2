"""How often the registry is asked for all that it has, and what a server that refuses is told to be."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from etag_server import Server, started
from signet_torchserve.archive.store import Store
from signet_torchserve.control import desired
from signet_torchserve.control.controller_status import Status
from signet_torchserve.control.desired import MAX_AWAY_PAUSE_S, MAX_DENIED_PAUSE_S, Follower
from signet_torchserve.registry.changes import RegistryChanges
from signet_torchserve.registry.client import Registry
from signet_torchserve.registry.errors import RegistryUnreachable
from signet_torchserve.revision import Revision

PAGE = "<html>" + "Sign in. " * 1000


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, str], str]]:
    """Start a server that has one answer to everything; the address of one that stands for MLflow."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    servers = []

    def start(status: int, body: str) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("answer", "said", "longest_s"),
    [
        ((401, "You are not authenticated."), "MLflow does not accept the account (401).", MAX_DENIED_PAUSE_S),
        (
            (401, '{"error_code": "UNAUTHENTICATED", "message": "no"}'),
            "MLflow does not accept the account",
            MAX_DENIED_PAUSE_S,
        ),
        ((403, "Permission denied"), "MLflow does not let the account do this (403)", MAX_DENIED_PAUSE_S),
        ((404, PAGE), "failed with error code 404 != 200", MAX_AWAY_PAUSE_S),
        ((200, PAGE), "the response body was not in a valid JSON format", MAX_AWAY_PAUSE_S),
        ((503, "starting"), "503", MAX_AWAY_PAUSE_S),
    ],
)
def test_a_server_that_refuses_is_told_in_a_line_and_asked_less_and_less(
    answer: tuple[int, str],
    said: str,
    longest_s: float,
    answering: Callable[[int, str], str],
    tmp_path: Path,
) -> None:
    """What is wrong is said with the server's address; a wrong account is tried once a minute in the end."""
    told, store = Status(), Store(tmp_path)
    address = answering(*answer)
    follower = Follower(Registry(address, "champion"), store, told)
    for _ in range(7):
        assert not follower.look({}).is_known
    assert told.registry.startswith(f"{address}: ")
    assert said in told.registry
    assert len(told.registry) < 1000
    assert longest_s / 2 <= follower.until_next_look_s(2) <= longest_s
    store.close()


server = pytest.fixture(started)


@pytest.fixture
def lists() -> list[dict[str, Revision]]:
    """What the registry has listed, look by look."""
    return []


@pytest.fixture
def away() -> list[Exception]:
    """What looks at the registry raise, one after the other; once there is no more, it answers."""
    return []


@pytest.fixture
def tardy() -> list[float]:
    """Seconds that looks at the registry take, one after the other; then they take none."""
    return []


@pytest.fixture
def follower(
    server: Server,
    tmp_path: Path,
    lists: list[dict[str, Revision]],
    away: list[Exception],
    tardy: list[float],
) -> Iterator[Follower]:
    asked_for: list[set[str] | None] = []

    def listed(changed: set[str] | None = None) -> dict[str, Revision]:
        time.sleep(tardy.pop() if tardy else 0)
        if away:
            raise away.pop()
        asked_for.append(changed)
        lists.append({"iris": Revision(str(1 + len(lists)))})
        return lists[-1]

    changes = RegistryChanges(f"http://127.0.0.1:{server.server_port}")
    registry = SimpleNamespace(
        desired=listed, changes=changes, troubles={}, models=frozenset({"iris"}), asked_for=asked_for
    )
    store = Store(tmp_path)
    yield Follower(registry, store, Status())  # type: ignore[arg-type]  # a registry in memory
    store.close()


def test_an_unchanged_registry_is_not_listed_again(
    follower: Follower, server: Server, lists: list[dict[str, Revision]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is listed again when it tells of a change, or after a while: somebody may have changed its database."""
    for _ in range(3):
        assert follower.look({}).revisions == {"iris": Revision("1")}
        assert not follower.has_news()
    server.etag = '"2"'
    assert follower.has_news()
    assert follower.look({}).revisions == {"iris": Revision("2")}
    assert not follower.has_news()
    assert len(lists) == 2
    monkeypatch.setattr(desired.time, "monotonic", lambda now=desired.time.monotonic: now() + desired.WHOLE_S)
    assert follower.look({}).revisions == {"iris": Revision("3")}


def test_only_what_has_changed_is_read_again(
    follower: Follower, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the server names it; all is read at first, and after a while."""
    read = follower._registry.asked_for  # type: ignore[attr-defined]  # a registry in memory
    follower.look({})
    server.etag, server.changed = '"2"', '["iris"]'
    follower.look({})
    server.etag, server.changed = '"3"', None
    follower.look({})
    assert read == [None, {"iris"}, None]
    server.etag, server.changed = '"4"', '["iris"]'
    monkeypatch.setattr(desired.time, "monotonic", lambda now=desired.time.monotonic: now() + desired.WHOLE_S)
    follower.look({})
    assert read[3:] == [None]


@pytest.mark.parametrize("error", [RegistryUnreachable("away"), RuntimeError("out of luck")])
def test_a_look_that_fails_loses_no_change(
    follower: Follower, server: Server, away: list[Exception], error: Exception
) -> None:
    """Whatever it fails with: the next one reads all."""
    read = follower._registry.asked_for  # type: ignore[attr-defined]  # a registry in memory
    follower.look({})
    server.etag, server.changed = '"2"', '["iris"]'
    away.append(error)
    with suppress(RuntimeError):
        follower.look({})
    assert read == [None]
    follower.look({})
    assert read[1:]
    assert read[-1] is None


def test_who_listens_is_told_of_each_change(
    follower: Follower, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once of each, until the listening is ended."""
    monkeypatch.setattr(desired, "PAUSE_S", 0.01)
    news: queue.Queue[str] = queue.Queue()

    def on_news() -> None:
        news.put(next(iter(follower.look({}).revisions.values())).version)

    follower.look({})
    stop = threading.Event()
    listening = threading.Thread(target=follower.listen, args=(on_news, stop))
    listening.start()
    try:
        for version in ("2", "3"):
            server.etag = f'"{version}"'
            assert news.get(timeout=30) == version
            with pytest.raises(queue.Empty):
                news.get(timeout=0.1)
    finally:
        stop.set()
        listening.join()


def test_a_server_that_was_away_tells_from_the_first_look_at_which_it_answers(
    follower: Follower, server: Server, away: list[Exception]
) -> None:
    """What is changed right after it is back is news, also for a replica that has started without it."""
    away += [RegistryUnreachable("it starts")] * 2
    server.etag = None
    assert [follower.look({}).is_known for _ in range(2)] == [False, False]
    server.etag = '"1"'
    assert follower.look({}).is_known
    assert not follower.has_news()
    server.etag = '"2"'
    assert follower.has_news()


def test_a_look_that_takes_long_once_does_not_put_the_next_one_off(
    follower: Follower, server: Server, tardy: list[float]
) -> None:
    """A server that has just started is slow at first."""
    server.etag = None
    for took_s, waits in ((0.4, False), (0.0, False), (0.4, False), (0.4, True)):
        tardy.append(took_s)
        follower.look({})
        assert (follower.until_next_look_s(2.0) > 35) is waits


def test_a_server_that_does_not_tell_is_listed_each_time_but_not_all_the_time(
    follower: Follower, server: Server, lists: list[dict[str, Revision]]
) -> None:
    """What takes the server long is asked for less often."""
    server.etag = None
    for _ in range(3):
        follower.look({})
        assert not follower.has_news()
    assert len(lists) == 3
    for took_s, wait_s in ((0.01, 2), (0.1, 10), (4, 400), (60, desired.MAX_IDLE_PAUSE_S)):
        follower.look_took_s = took_s
        assert follower.until_next_look_s(2.0) == pytest.approx(wait_s)


def test_what_was_listed_a_moment_ago_will_do_where_it_may(
    follower: Follower, server: Server, lists: list[dict[str, Revision]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With many rollouts there is much progress, and each piece would cost a look."""
    follower.look({})
    server.etag = '"2"'
    assert follower.look({}, may_reuse=True).revisions == {"iris": Revision("1")}
    monkeypatch.setattr(desired, "WAIT_S", -desired.PAUSE_S)  # what was asked before now is too old
    assert follower.look({}, may_reuse=True).revisions == {"iris": Revision("2")}
    server.etag = '"3"'
    assert follower.look({}).revisions == {"iris": Revision("3")}
    assert len(lists) == 3
