"""TorchServe's management and inference API, of a real TorchServe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from signet_torchserve.server import client
from signet_torchserve.server.client import TorchServe
from signet_torchserve.server.model_server import ModelServerError

from testing.small_server import ECHO, SmallServer, small_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    with small_server(tmp_path_factory.mktemp("client"), {"echo": ECHO}) as server:
        server.deploy("echo")
        yield server


def test_an_error_is_told_in_torchserves_words(server: SmallServer) -> None:
    """With the address that was asked; an unknown model has no versions, and to remove it is no error."""
    assert server.api.version("unknown") is None
    assert server.api.versions("unknown") == {}
    assert server.api.remove("unknown", "1")
    with pytest.raises(ModelServerError, match=r"unknown/1/set-default answered 404: Model not found"):
        server.api.set_default("unknown", "1")
    with pytest.raises(ModelServerError, match=r"predictions/unknown/1 answered 404: Model not found"):
        server.api.predict("unknown", "1", {})


def test_a_version_is_asked_by_its_number(server: SmallServer) -> None:
    """The answer is read from its JSON; a version says which workers it has."""
    assert server.api.predict("echo", "1", [1.5, None]) == [1.5, None]
    served = server.api.version("echo")
    assert served is not None
    assert (served.workers, served.ready_workers, len(served.pids)) == (1, 1, 1)


def test_all_models_are_listed_however_many_there_are(server: SmallServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """TorchServe lists them page by page."""
    monkeypatch.setattr(client, "_PAGE", 2)
    names = [f"m{number}" for number in range(5)]
    for name in names:
        server.api._register(client._placeholder_folder(name, server.store.archives / f"{name}@1"), initial_workers=0)
    assert server.api.defaults().keys() == {"echo", *names}
    assert all(server.api.versions(name) == {} for name in names), "a placeholder is no version"


def test_who_does_not_answer_is_not_up(tmp_path: Path) -> None:
    """The error of any other call names the server that was asked."""
    nobody = TorchServe(tmp_path / "management.sock", "http://127.0.0.1:9")
    assert not nobody.is_up()
    with pytest.raises(ModelServerError, match="TorchServe does not answer GET http://management/models"):
        nobody.defaults()
