"""The health check's two answers."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from signet_mlflow_server import health

if TYPE_CHECKING:
    import pytest
    from conftest import RunningServer


def test_serving_is_healthy(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers gives 0."""
    monkeypatch.setenv("MLFLOW_PORT", str(urlsplit(server.url).port))
    assert health.main() == 0


def test_nobody_there_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A closed port gives 1 and says where it knocked."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound and not listening: refused
        port = bound.getsockname()[1]
        monkeypatch.setenv("MLFLOW_PORT", str(port))
        assert health.main() == 1
    assert capsys.readouterr().err.splitlines() == [f"http://127.0.0.1:{port}/health: [Errno 111] Connection refused"]
