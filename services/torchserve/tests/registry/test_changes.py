"""A registry's changes, asked of servers that tell and of one that does not."""

from __future__ import annotations

import pytest
from etag_server import Server, started
from mlflow.tracking.request_header import registry
from signet_torchserve.registry.changes import RegistryChanges, name_this_process

server = pytest.fixture(started)


def test_a_server_that_tells(server: Server) -> None:
    """There are no changes until the ETag is another one."""
    changes = RegistryChanges(f"http://127.0.0.1:{server.server_port}")
    assert changes.are_there(), "nobody has looked yet"
    changes.begin()
    assert changes.mark
    assert not changes.are_there()
    server.etag = '"2"'
    assert changes.are_there()
    changes.begin()
    assert not changes.are_there()


def test_a_server_that_does_not_tell(server: Server) -> None:
    """There may always be changes: each look is a whole one."""
    server.etag = None
    changes = RegistryChanges(f"http://127.0.0.1:{server.server_port}")
    changes.begin()
    assert changes.mark is None
    assert changes.are_there()


def test_a_server_that_is_away_or_no_server() -> None:
    """There may be changes: the look that follows finds out."""
    for uri in ("http://127.0.0.1:9", "sqlite:///registry.db"):
        changes = RegistryChanges(uri)
        changes.begin()
        assert changes.mark is None
        assert changes.are_there()


def test_the_server_is_asked_to_wait(server: Server) -> None:
    """As long as the caller can wait."""
    changes = RegistryChanges(f"http://127.0.0.1:{server.server_port}")
    changes.begin()
    changes.are_there()
    changes.are_there_since(changes.mark, 1)
    assert server.preferences == [None, "wait=0", "wait=1"]


def test_changes_count_from_when_there_were_some_last(server: Server) -> None:
    """The look that follows sees them, and the server is asked for its ETag once instead of twice."""
    changes = RegistryChanges(f"http://127.0.0.1:{server.server_port}")
    changes.begin()
    first = changes.mark
    server.etag = '"2"'
    assert changes.are_there()
    asked = len(server.names)
    changes.begin()
    assert len(server.names) == asked
    assert changes.mark == '"2"'
    assert changes.are_there_since(first)
    assert not changes.are_there()


@pytest.mark.parametrize(("told", "changed"), [(None, None), ("[]", set()), ('["a", "\\u00fc"]', {"a", "ü"})])
def test_who_begins_is_told_what_has_changed(server: Server, told: str | None, changed: set[str] | None) -> None:
    """Since the last time, by the server that names it; nothing, if the server says that nothing has."""
    changes = RegistryChanges(f"http://127.0.0.1:{server.server_port}")
    assert changes.begin() is None, "nobody has looked yet"
    assert changes.begin() == set()
    server.etag, server.changed = '"2"', told
    assert changes.are_there()
    assert changes.begin() == changed
    assert changes.mark == '"2"'


def test_a_process_has_one_name(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """All its requests to MLflow have that name, however often it is set, and headers of plugins stay."""
    mlflows = registry._request_header_provider_registry
    others = [it for it in mlflows if "Databricks" not in type(it).__name__]
    monkeypatch.setattr(mlflows, "_registry", list(mlflows))
    changes = RegistryChanges(f"http://127.0.0.1:{server.server_port}")
    changes.begin()
    for _ in range(2):
        name_this_process()
        assert list(mlflows)[:-1] == others
        changes.are_there()
        changes.are_there()
    assert server.names[0] is None
    assert server.names[1] == server.names[2]
    assert server.names[1]
    assert " " not in server.names[1]
