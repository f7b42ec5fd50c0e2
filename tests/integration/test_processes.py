"""Without containers: `make demo`, `up`, `status`, `logs`, `down`, and what they say when something is wrong."""

from __future__ import annotations

import re
import shutil
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import requests
from checkout import Checkout
from signet_client.scenarios.runner import SCENARIOS

from testing.polling import until
from testing.ports import free_port
from testing.repository import MODEL, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import CompletedProcess

    from embedded_stack import EmbeddedStack

pytestmark = pytest.mark.embedded

_PATH_LENGTH = 200  # a socket's path ends at 103 or 107 bytes
# What the programs of a stack call their temporary files, as far as it is known.
_TEMPORARY = re.compile(r"signet|seaweedfs|hsperfdata|mlflow|netty|torch|pymp|matplotlib|\.?ts|tmp\w{8}$")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A copy of the repository in an inconvenient place; whatever a failed test left running is stopped."""
    folder = tmp_path_factory.mktemp("checkout") / "where the é lives"
    checkout = Checkout(folder / ("x" * (_PATH_LENGTH - len(str(folder)) - 1)))
    yield checkout
    checkout.make("down")


class Kept:
    """A stack that `make up` keeps in the copy."""

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout
        self._env = {"MLFLOW_PORT": str(free_port()), "TORCHSERVE_PORT": str(free_port())}
        self.mlflow, predictions = (f"http://127.0.0.1:{port}" for port in self._env.values())
        self._url = f"{predictions}/predictions/{MODEL}"
        up = checkout.make("up", env=self._env)
        assert up.returncode == 0, _output(up)

    def predict(self) -> str:
        try:
            return requests.put(self._url, data=(SAMPLES / "sample.json").read_bytes(), timeout=10).text
        except requests.ConnectionError as error:
            return str(error)

    def versions(self) -> list[str]:
        """What MLflow, and so Postgres, knows of the model."""
        asked = {"filter": f"name = '{MODEL}'"}
        try:
            found = requests.get(f"{self.mlflow}/api/2.0/mlflow/model-versions/search", asked, timeout=10).json()
        except requests.RequestException:
            return []
        return [version["version"] for version in found.get("model_versions", ())]

    def status(self) -> CompletedProcess[str]:
        return self._checkout.make("status", env=self._env)

    def kill(self, service: str) -> None:
        """SIGKILL the service itself; its shim lives to tell how it ended."""
        (line,) = [line for line in self.status().stdout.splitlines() if line.split()[:1] == [service]]
        shim = re.search(r"process group (\d+)", line)
        assert shim, line
        for child in psutil.Process(int(shim[1])).children():
            child.kill()


@pytest.fixture(scope="module")
def kept(checkout: Checkout) -> Kept:
    """For the last tests of this module: the others want nothing to run."""
    return Kept(checkout)


def _output(done: CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


def _temporary() -> set[Path]:
    """What lies in /tmp, Java's own folder there included, that a stack may have made."""
    found = {*Path("/tmp").glob("*"), *Path("/tmp").glob("hsperfdata_*/*")}  # noqa: S108 -- only listed
    return {path for path in found if any(_TEMPORARY.match(part) for part in path.parts[2:3])}


def test_demo(checkout: Checkout) -> None:
    """`make demo` ends with the scenarios' exit code, their table and a timing per step, and leaves nothing behind.

    In any folder, in any locale, and where nobody else may read what is made.
    """
    assert len(str(checkout.root)) == _PATH_LENGTH
    before = _temporary()
    began = time.monotonic()
    done = checkout.make("demo", env={"LC_ALL": "C", "PYTHONUTF8": "0"}, umask=0o077)
    seconds = time.monotonic() - began
    assert done.returncode == 0, _output(done)
    assert f"All {len(SCENARIOS)} scenarios hold." in done.stdout
    for step in ("postgres", "seaweedfs", "mlflow-server", "torchserve", "training", "deployment", "scenarios"):
        assert re.search(rf"✓ {step}\b.*\d+\.\d s", done.stdout), f"{step} has a timing line:\n{done.stdout}"
    assert "Traceback" not in _output(done)
    assert not checkout.orphans()
    assert not list((checkout.root / ".signet").glob("demo-*")), "a demo that went well leaves no files"
    assert _temporary() - before == set()
    print(f"\nmake demo: {seconds:.1f} s")


def test_up_status_logs_down(checkout: Checkout) -> None:
    """`make up` prints addresses that answer; status, logs and a second up agree; down ends all and keeps the data."""
    env = {"MLFLOW_PORT": str(free_port()), "TORCHSERVE_PORT": str(free_port())}
    mlflow, predictions = (f"http://127.0.0.1:{port}" for port in env.values())
    url = f"{predictions}/predictions/{MODEL}"

    assert checkout.make("status", env=env).returncode != 0, "nothing runs yet"
    up = checkout.make("up", env=env)
    assert up.returncode == 0, _output(up)
    assert mlflow in up.stdout
    assert url in up.stdout
    assert requests.get(f"{mlflow}/health", timeout=10).text == "OK"
    first = requests.put(url, data=(SAMPLES / "sample.json").read_bytes(), timeout=10)
    assert (first.text, first.headers["X-Model-Version"]) == ("SETOSA", "1")

    again = checkout.make("up", env=env)
    assert (again.returncode, "already up" in again.stdout) == (0, True), _output(again)
    status = checkout.make("status", env=env)
    assert (status.returncode, url in status.stdout) == (0, True), _output(status)
    (metrics,) = re.findall(r"http://\S+/metrics", status.stdout)
    assert "signet_predictions_total{" in requests.get(metrics, timeout=10).text
    logs = checkout.make("logs", "SERVICE=mlflow-server", env=env)
    assert (logs.returncode, "mlflow-server" in logs.stdout) == (0, True), _output(logs)

    down = checkout.make("down", env=env)
    assert down.returncode == 0, _output(down)
    assert not checkout.orphans()
    assert checkout.make("status", env=env).returncode != 0
    assert (checkout.root / ".signet" / "up").is_dir()

    # The same data again: version 1 serves, so nothing was trained.
    up = checkout.make("up", env=env)
    assert up.returncode == 0, _output(up)
    second = requests.put(url, data=(SAMPLES / "sample.json").read_bytes(), timeout=10)
    assert (second.text, second.headers["X-Model-Version"]) == ("SETOSA", "1")
    down = checkout.make("down", env=env)
    assert down.returncode == 0, _output(down)


def test_backup_and_restore(checkout: Checkout) -> None:
    """What `make backup` has saved of a stack that runs is put back on an empty one, which need not train then."""
    env = {"MLFLOW_PORT": str(free_port()), "TORCHSERVE_PORT": str(free_port())}
    url = f"http://127.0.0.1:{env['TORCHSERVE_PORT']}/predictions/{MODEL}"
    steps = [["backup", "TO=saved"], ["up"], ["backup", "TO=saved"], ["restore", "FROM=saved"], ["down"]]
    done = [checkout.make(*step, env=env, umask=0o077) for step in steps]
    assert [it.returncode == 0 for it in done] == [False, True, True, False, True], "\n".join(map(_output, done))
    assert "`make up` comes first" in _output(done[0])
    assert "`make down` comes first" in _output(done[3])
    for service in ("postgres", "seaweedfs", "torchserve"):
        shutil.rmtree(checkout.root / ".signet" / "up" / service)
    for step in (["restore", "FROM=saved"], ["up"]):
        done = [checkout.make(*step, env=env, umask=0o077)]
        assert done[0].returncode == 0, _output(done[0])
    answer = requests.put(url, data=(SAMPLES / "sample.json").read_bytes(), timeout=10)
    assert (answer.text, answer.headers["X-Model-Version"]) == ("SETOSA", "1")
    down = checkout.make("down", env=env)
    assert down.returncode == 0, _output(down)
    assert not checkout.orphans()


def test_port_taken(checkout: Checkout) -> None:
    """A port that is taken is one clear message with the setting that moves it, and nothing is left running."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        done = checkout.make("up", env={"MLFLOW_PORT": str(free_port()), "TORCHSERVE_PORT": port})
    assert done.returncode != 0
    assert f"port {port} is taken" in _output(done)
    assert "TORCHSERVE_PORT" in _output(done)
    assert "Traceback" not in _output(done)
    assert not checkout.orphans()


def test_port_that_is_none(checkout: Checkout) -> None:
    """A port that can't be one is named with its setting."""
    done = checkout.make("up", env={"MLFLOW_PORT": "http"})
    assert done.returncode != 0
    assert "MLFLOW_PORT has value 'http'" in _output(done)
    assert "Traceback" not in _output(done)


def test_help_is_the_default(checkout: Checkout) -> None:
    """`make` alone lists what there is to do."""
    done = checkout.make()
    assert done.returncode == 0
    for target in ("demo", "up", "status", "logs", "down", "test", "lint"):
        assert f"make {target}" in done.stdout


def test_every_socket_is_local(processes: EmbeddedStack) -> None:
    """Every port of every service listens on 127.0.0.1 only."""
    addresses = processes.processes.addresses
    sockets = [c.laddr for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr]
    listening = [address for address in sockets if address.port in set(addresses.values())]
    assert {address.port for address in listening} >= {addresses["mlflow"], addresses["inference"]}
    # Java has IPv6 sockets only; there, 127.0.0.1 is written so.
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


@pytest.mark.parametrize("service", ["postgres", "seaweedfs", "mlflow-server", "torchserve"])
def test_a_service_that_ends_is_started_again(kept: Kept, service: str) -> None:
    """Whatever ends, `make status` says it until it is back; unless it is TorchServe, no prediction fails meanwhile."""
    answers: list[object] = []

    def is_back() -> bool:
        answers.append(kept.predict())
        status = kept.status()
        return f"{service}" in status.stdout and "killed by signal 9" in status.stdout and status.returncode == 0

    kept.kill(service)
    until(f"{service} is back", is_back, timeout_s=60)
    if service == "torchserve":
        until("predictions are back", lambda: kept.predict() == "SETOSA", timeout_s=30)
    else:
        assert set(answers) == {"SETOSA"}
    until("MLflow is back", lambda: kept.versions() == ["1"], timeout_s=30)
