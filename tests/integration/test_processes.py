"""Without containers: `make demo`, `up`, `status`, `logs`, `down`, and what they say when something is wrong."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from typing import TYPE_CHECKING

import psutil
import pytest
import requests
from signet_client.scenarios import SCENARIOS

from checkout import Checkout
from polling import until
from stack import MODEL, SAMPLES, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import CompletedProcess

    from embedded_stack import EmbeddedStack

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A copy of the repository; whatever a failed test left running is stopped."""
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    yield checkout
    checkout.make("down")


def _output(done: CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


def test_demo(checkout: Checkout) -> None:
    """`make demo` ends with the scenarios' exit code, their table and a timing per step, and leaves nothing running."""
    began = time.monotonic()
    done = checkout.make("demo")
    seconds = time.monotonic() - began
    assert done.returncode == 0, _output(done)
    assert f"All {len(SCENARIOS)} scenarios hold." in done.stdout
    for step in ("postgres", "seaweedfs", "mlflow-server", "torchserve", "training", "deployment", "scenarios"):
        assert re.search(rf"✓ {step}\b.*\d+\.\d s", done.stdout), f"{step} has a timing line:\n{done.stdout}"
    assert "Traceback" not in _output(done)
    assert not checkout.leftovers()
    assert not list((checkout.root / ".signet").glob("demo-*")), "a demo that went well leaves no files"
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
    assert not checkout.leftovers()
    assert checkout.make("status", env=env).returncode != 0
    assert (checkout.root / ".signet" / "up").is_dir()

    # The same data again: version 1 serves, so nothing was trained. Then a service dies.
    up = checkout.make("up", env=env)
    assert up.returncode == 0, _output(up)
    second = requests.put(url, data=(SAMPLES / "sample.json").read_bytes(), timeout=10)
    assert (second.text, second.headers["X-Model-Version"]) == ("SETOSA", "1")
    _assert_death_is_told(checkout, env)


def _assert_death_is_told(checkout: Checkout, env: dict[str, str]) -> None:
    """A service that dies takes the stack down, and `make status` says which it was and how its log ends."""
    port = int(env["MLFLOW_PORT"])
    listening = [c for c in psutil.net_connections("tcp4") if c.status == "LISTEN" and c.laddr]
    holder = next(c.pid for c in listening if c.laddr and c.laddr.port == port and c.pid)
    os.kill(holder, signal.SIGKILL)
    until("nothing is left running", lambda: not checkout.leftovers(), timeout_s=60)
    status = checkout.make("status", env=env)
    assert status.returncode != 0
    assert "mlflow-server died" in status.stdout, _output(status)
    assert "log" in status.stdout


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
    assert not checkout.leftovers()


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
