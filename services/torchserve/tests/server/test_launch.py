"""What a TorchServe that was started here listens at, and what it knows from the start."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from signet_torchserve.archive.store import Store
from signet_torchserve.revision import Revision
from signet_torchserve.server import launch
from signet_torchserve.settings import Settings
from ts.model_server import load_properties

from testing.repository import ROOT
from testing.small_server import SmallServer, small_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """A TorchServe without models."""
    with small_server(tmp_path_factory.mktemp("launch"), {}, is_forked=False) as server:
        yield server


def test_only_predictions_and_metrics_have_a_port(server: SmallServer) -> None:
    """Every other user of the machine can reach these two; management is a socket in a folder closed to them."""
    ports = {urlsplit(url).port for url in (server.inference, server.metrics_url)}
    found = psutil.Process(server.pid).net_connections("tcp")
    assert {connection.laddr.port for connection in found if connection.status == "LISTEN"} == ports
    folder = server.store.sockets
    assert (folder / "management.sock").is_socket()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_management_asks_nobody_who_he_is(server: SmallServer) -> None:
    """Whoever reaches it registers models and workflows, so it listens at a socket that its own user alone reaches.

    A hole of TorchServe, in the list of docs/doors.md: its tokens end after an hour, and `enable_model_api` says
    nothing of workflows.
    """
    for path in ("models", "workflows"):
        answer = server.api._session.post(f"http://management/{path}", params={"url": "none.war"}, timeout=30)
        assert answer.status_code in {400, 404}, "401 or 403: the hole is mended, and leaves the list"
    assert isinstance(server.store.management, Path)
    folder = server.store.management.parent.stat()
    assert (stat.S_IMODE(folder.st_mode) & 0o077, folder.st_uid) == (0, os.getuid())
    listening = {
        connection.laddr.ip
        for connection in psutil.Process(server.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_what_served_last_is_known_from_the_start(tmp_path: Path) -> None:
    """Each version with what its tags ask; one whose tags are refused by now is left to the controller."""
    store = Store(tmp_path)
    settings = Settings.from_environment({"TS_CONFIG_FILE": str(ROOT / "config.properties")})
    served = {
        "iris": Revision("2", {"serving.workers": "3", "serving.timeout_s": "7"}, 1),
        "digits": Revision("1", {"serving.workers": "many"}, 1),
    }
    properties = load_properties(str(launch._config_file(settings, store, served)))
    models = json.loads(properties["model_snapshot"])["models"]
    assert models.keys() == {"iris"}
    ((identifier, version),) = models["iris"].items()
    assert identifier == served["iris"].id
    assert (version["minWorkers"], version["maxWorkers"], version["responseTimeout"]) == (3, 3, 7)
    assert version["marName"] == store.unpacked("iris", identifier).name
    assert "model_snapshot" not in load_properties(str(launch._config_file(settings, store, {})))
    store.close()
