"""What holds of every model server: of TorchServe, and of the one in memory that the controller's tests have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_server import MemoryServer
from signet_torchserve.server.model_server import ModelServer, ModelServerError, wait_until_ready
from signet_torchserve.version_options import Options

from testing.polling import until
from testing.small_server import ECHO, small_server


@pytest.fixture(scope="module", params=["memory", "torchserve"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ModelServer, Path]]:
    """A model server, and the folder of a version "1" that it may serve."""
    if request.param == "memory":
        yield MemoryServer(), Path("echo@1")
        return
    with small_server(tmp_path_factory.mktemp("server"), {"echo": ECHO}) as small:
        folder = small.store.archives / "echo@1.mar"
        folder.with_name("echo.mar").rename(folder)
        yield small.api, folder


def test_a_version_comes_and_goes(server: tuple[ModelServer, Path]) -> None:
    """It answers once it is the default, has the workers that it is given, and is unknown when it has ended."""
    api, folder = server
    assert (api.defaults(), api.versions("echo"), api.version("echo")) == ({}, {}, None)
    api.ensure("echo", "1", folder, Options())
    assert api.defaults() == {"echo": "not-yet"}
    assert api.versions("echo").keys() == {"1"}
    wait_until_ready(api, "echo", "1", 1)
    for _ in range(2):
        api.set_default("echo", "1")
        assert api.version("echo", "not-yet") is None
    for workers in (2, 2, 1):
        api.ensure("echo", "1", folder, Options(workers=workers))
        assert api.versions("echo")["1"].workers == workers
        wait_until_ready(api, "echo", "1", workers)
    assert api.defaults()["echo"].startswith("1")
    assert api.remove("echo", "1")
    assert api.remove("echo", "1")
    until("nothing is served", lambda: (api.defaults(), api.versions("echo")) == ({}, {}))


def test_what_is_unknown_is_no_default(server: tuple[ModelServer, Path]) -> None:
    """An unknown version is told in the server's words."""
    with pytest.raises(ModelServerError, match="Model not found"):
        server[0].set_default("unknown", "1")
