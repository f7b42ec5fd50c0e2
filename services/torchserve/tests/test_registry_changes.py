"""A registry's changes, asked of servers that tell and of one that does not."""

from __future__ import annotations

import pytest
from etag_server import Server, started
from signet_torchserve.registry_changes import RegistryChanges

server = pytest.fixture(started)


def test_a_server_that_tells(server: Server) -> None:
    """There are none until the ETag is another one."""
    changes = RegistryChanges(f"http://127.0.0.1:{server.server_port}")
    assert changes.are_there(), "nobody has looked yet"
    changes.begin()
    assert changes.can_be_told
    assert not changes.are_there()
    server.etag = '"2"'
    assert changes.are_there()
    changes.begin()
    assert not changes.are_there()


def test_a_server_that_does_not_tell(server: Server) -> None:
    """Each look is a whole one."""
    server.etag = None
    changes = RegistryChanges(f"http://127.0.0.1:{server.server_port}")
    changes.begin()
    assert not changes.can_be_told
    assert changes.are_there()


def test_a_server_that_is_away_or_no_server() -> None:
    """Whoever looks finds out."""
    for uri in ("http://127.0.0.1:9", "sqlite:///registry.db"):
        changes = RegistryChanges(uri)
        changes.begin()
        assert not changes.can_be_told
        assert changes.are_there()
