"""How often the registry is asked for all that it has."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from etag_server import Server, started
from signet_torchserve.archive.store import Store
from signet_torchserve.control import desired
from signet_torchserve.control.controller_status import Status
from signet_torchserve.control.desired import Follower
from signet_torchserve.control.registry import RegistryUnreachable
from signet_torchserve.registry_changes import RegistryChanges
from signet_torchserve.revision import Revision

server = pytest.fixture(started)


@pytest.fixture
def lists() -> list[dict[str, Revision]]:
    """What the registry has listed, look by look."""
    return []


@pytest.fixture
def away() -> list[RegistryUnreachable]:
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
    away: list[RegistryUnreachable],
    tardy: list[float],
) -> Iterator[Follower]:
    def listed() -> dict[str, Revision]:
        time.sleep(tardy.pop() if tardy else 0)
        if away:
            raise away.pop()
        lists.append({"iris": Revision(str(1 + len(lists)))})
        return lists[-1]

    changes = RegistryChanges(f"http://127.0.0.1:{server.server_port}")
    registry = SimpleNamespace(desired=listed, changes=changes, troubles={}, models=frozenset({"iris"}))
    store = Store(tmp_path)
    yield Follower(registry, store, Status())  # type: ignore[arg-type]  # a registry in memory
    store.close()


def test_an_unchanged_registry_is_not_listed_again(
    follower: Follower, server: Server, lists: list[dict[str, Revision]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it has changed, which is news, or a while has passed in which its database may have been changed."""
    monkeypatch.setattr(desired, "ASK_S", 0.0)
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


def test_a_server_that_was_away_tells_from_the_first_look_at_which_it_answers(
    follower: Follower, server: Server, away: list[RegistryUnreachable], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is changed right after it is back is news, also for a replica that has started without it."""
    monkeypatch.setattr(desired, "ASK_S", 0.0)
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
    for took_s, waits in ((0.1, False), (0.0, False), (0.1, False), (0.1, True)):
        tardy.append(took_s)
        follower.look({})
        assert (follower.backoff_s(2.0) > 9) is waits


def test_a_server_that_does_not_tell_is_listed_each_time_but_not_all_the_time(
    follower: Follower, server: Server, lists: list[dict[str, Revision]]
) -> None:
    """What takes the server long is asked for less often."""
    server.etag = None
    for _ in range(3):
        follower.look({})
        assert not follower.has_news()
    assert len(lists) == 3
    for took_s, wait_s in ((0.01, 2), (0.1, 10), (4, 400), (60, desired.LONGEST_S)):
        follower.look_took_s = took_s
        assert follower.backoff_s(2.0) == pytest.approx(wait_s)


def test_what_was_listed_a_moment_ago_will_do_where_it_may(
    follower: Follower, server: Server, lists: list[dict[str, Revision]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controller's own changes are news, too, and with many rollouts each would cost a whole look."""
    follower.look({})
    server.etag = '"2"'
    assert follower.look({}, or_last=True).revisions == {"iris": Revision("1")}
    monkeypatch.setattr(desired, "ASK_S", 0.0)
    assert follower.look({}, or_last=True).revisions == {"iris": Revision("2")}
    server.etag = '"3"'
    assert follower.look({}).revisions == {"iris": Revision("3")}
    assert len(lists) == 3
