"""Patches and the jar that they are made for, or another one."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import requests
from signet_torchserve.server import frontend
from signet_torchserve.server.patches import PATCHES, Patch

from testing.small_server import small_server

JAR = frontend.JARS / "model-server.jar"
NETTY_UTILS = "org/pytorch/serve/util/NettyUtils.class"
REST_JOB = "org/pytorch/serve/job/RestJob.class"
REFUSING = """
class Refusing:
    def initialize(self, context):
        pass

    def handle(self, batch, context):
        context.set_response_status(400, "Bad Request", 0)
        return ["no"]
"""
Rebuild = Callable[[Mapping[str, bytes | None]], None]


@pytest.fixture(scope="module")
def shipped() -> dict[str, bytes]:
    """TorchServe's own classes, by name."""
    with zipfile.ZipFile(JAR) as jar:
        return {name: jar.read(name) for name in jar.namelist() if name.startswith("org/pytorch/serve/")}


@pytest.fixture
def rebuild(tmp_path: Path, shipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Rebuild:
    """Have a jar with these classes in the place of those that are shipped, or without them."""

    def made(others: Mapping[str, bytes | None]) -> None:
        with zipfile.ZipFile(tmp_path / "model-server.jar", "w") as jar:
            for name, content in {**shipped, **others}.items():
                if content is not None:
                    jar.writestr(name, content)
        monkeypatch.setattr(frontend, "JARS", tmp_path)

    return made


def renamed(content: bytes, name: str, other: str) -> bytes:
    """A class with another name for what it calls or has."""
    old, new = (b"\x01" + len(text).to_bytes(2) + text.encode() for text in (name, other))
    assert content.count(old) == 1
    return content.replace(old, new)


def classes(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.class")}


def test_every_patch_fits_the_version_that_is_pinned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """TorchServe 0.12.0 gets all of them, and nothing is logged."""
    assert frontend.prepared(tmp_path).patches == {patch.name for patch in PATCHES}
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("patch", "name", "place"),
    [
        pytest.param(patch, name, place, id=f"{patch.name}-{Path(name).stem}-{place}")
        for patch in PATCHES
        for name, changes in patch.changes.items()
        for place in range(len(changes))
    ],
)
def test_a_patch_that_does_not_fit_is_left_out_whole(  # noqa: PLR0913, PLR0917 -- all fixtures
    patch: Patch,
    name: str,
    place: int,
    tmp_path: Path,
    shipped: dict[str, bytes],
    rebuild: Rebuild,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One warning says which it is, what it expects and what is lost; the rest is applied, but for what needs it."""
    expected = patch.changes[name][place].shipped
    rebuild({name: shipped[name].replace(expected, expected[:-1] + bytes([expected[-1] ^ 1]))})
    prepared = frontend.prepared(tmp_path / "changed")
    left_out = [one for one in PATCHES if one is patch or one.needs == patch.name]
    rest = [one for one in PATCHES if one not in left_out]
    assert prepared.patches == {one.name for one in rest}
    for one, message in zip(left_out, caplog.messages, strict=True):
        assert message.startswith(f"TorchServe's frontend goes without the patch '{one.name}'")
        assert (f"It expects {name} to be that of TorchServe 0.12.0" in message) is (one is patch)
        assert message.endswith(one.lost)
    assert frontend.prepared(tmp_path / "rest", rest).patches == prepared.patches
    assert classes(tmp_path / "changed") == classes(tmp_path / "rest")


def test_a_class_that_is_missing(tmp_path: Path, rebuild: Rebuild, caplog: pytest.LogCaptureFixture) -> None:
    """A patch of a class that the jar lacks doesn't fit it."""
    rebuild({REST_JOB: None})
    assert frontend.prepared(tmp_path).patches == {patch.name for patch in PATCHES} - {"workers"}
    assert [f"It expects a class {REST_JOB}" in message for message in caplog.messages] == [True]


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [
        (REST_JOB, "sendHttpResponse", "no call of org/pytorch/serve/util/NettyUtils.sendAnswer("),
        (NETTY_UTILS, "requestReceived", "org/pytorch/serve/util/NettyUtils to have requestReceived("),
    ],
)
def test_a_class_of_ours_takes_only_a_place_that_it_can_fill(  # noqa: PLR0913, PLR0917 -- all fixtures
    name: str,
    method: str,
    expected: str,
    tmp_path: Path,
    shipped: dict[str, bytes],
    rebuild: Rebuild,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where TorchServe calls a method that ours lacks, or lacks one that ours calls, its own class stays."""
    rebuild({name: renamed(shipped[name], method, "sendAnswer")})
    assert "workers" not in frontend.prepared(tmp_path / "changed").patches
    assert any("without the patch 'workers'" in message and expected in message for message in caplog.messages)


def test_no_patch_at_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without any, no class is changed, and nobody is warned of what was asked for."""
    assert frontend.prepared(tmp_path, ()).patches == frozenset()
    assert classes(tmp_path) == {}
    assert caplog.messages == []


def test_torchserve_runs_with_the_patches_that_fit(
    tmp_path: Path, shipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A rebuilt jar that one patch doesn't fit serves, and the others do their work."""
    jars = tmp_path / "jars"
    jars.mkdir()
    closes_from_399 = shipped[NETTY_UTILS].replace(bytes.fromhex("110190 a1"), bytes.fromhex("11018f a1"))
    assert closes_from_399 != shipped[NETTY_UTILS]
    with zipfile.ZipFile(JAR) as old, zipfile.ZipFile(jars / JAR.name, "w") as new:
        for name in old.namelist():
            new.writestr(name, closes_from_399 if name == NETTY_UTILS else old.read(name))
    monkeypatch.setattr(frontend, "JARS", jars)
    with small_server(tmp_path, {"refusing": REFUSING}) as server:
        server.deploy("refusing")
        refused = requests.post(server.url("refusing"), data=b"x", timeout=30)
        assert (refused.status_code, refused.headers["connection"]) == (400, "close")
        assert requests.delete(server.url("refusing"), timeout=30).status_code == 405
    (message,) = caplog.messages
    assert "without the patch 'connections'" in message
