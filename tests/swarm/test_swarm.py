"""The stack on several machines: every address answers, and what moves costs no request."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from load import Load, predict
from swarm import NEXT

from testing.polling import until
from testing.repository import ALIAS, MODEL, ROOT

if TYPE_CHECKING:
    from machines import Machine
    from swarm import Swarm

_PORTS = (5000, 5432, 7070, 7071, 8080, 8081, 8082, 8083, 8090, 8333, 9000)


def _load(swarm: Swarm) -> Load:
    return Load([machine.address for machine in swarm.machines.values()])


def _open_ports(machine: Machine) -> list[int]:
    found = []
    for port in _PORTS:
        with suppress(OSError), socket.create_connection((machine.address, port), timeout=2):
            found.append(port)
    return found


def test_every_address_answers(swarm: Swarm) -> None:
    """Three replicas serve, one on each machine, and each machine's address leads to them."""
    assert sorted(machine.name for machine, _ in swarm.healthy("torchserve")) == ["one", "three", "two"]
    assert [predict(machine.address) for machine in swarm.machines.values()] == ["1"] * 3


def test_predictions_are_all_that_is_published(swarm: Swarm) -> None:
    """Of the stack's ports each machine has the predictions' open, and no other."""
    assert [_open_ports(machine) for machine in swarm.machines.values()] == [[8080]] * 3


def test_who_shares_no_network_does_not_talk(swarm: Swarm) -> None:
    """From the client's networks the gateway and MLflow can be reached, on whichever machine; nothing else can."""
    targets = [("gateway", 8080), ("mlflow-server", 5000), ("postgres", 5432), ("minio", 9000)]
    targets += [("torchserve", port) for port in (8080, 8081, 8083)]
    code = f"""
import socket
for host, port in {targets}:
    try:
        socket.create_connection((host, port), timeout=2).close()
        print(host)
    except OSError:
        pass
"""
    machine = swarm.machines["two"]
    brief = ("--dns-option", "timeout:1", "--dns-option", "attempts:1")
    create = ("create", "--rm", *brief, "--network", "signet_predictions", "--entrypoint", "python")
    container = machine.docker(*create, "signet/client:0.1.0", "-c", code)
    machine.docker("network", "connect", "signet_deployment", container)
    assert machine.docker("start", "--attach", container).split() == ["gateway", "mlflow-server"]


def test_mlflow_opens_on_a_loopback(swarm: Swarm) -> None:
    """The page's command opens MLflow on one machine's loopback, and to nobody else."""
    machine = swarm.machines["three"]
    mount = f"type=bind,source={ROOT}/deploy/swarm/mlflow.cfg,target=/usr/local/etc/haproxy/haproxy.cfg,readonly"
    run = ("run", "--rm", "--detach", "--network", "signet_training", "--publish", "127.0.0.1:5000:5000")
    container = machine.docker(*run, "--mount", mount, "signet/gateway:0.1.0")
    until("MLflow answers", lambda: machine.curl("127.0.0.1:5000/health") == "OK", timeout_s=20)
    assert _open_ports(machine) == [8080]
    machine.docker("kill", container)


def test_alias_moves_on_all_replicas(swarm: Swarm) -> None:
    """An alias that moves under load is followed by every replica; no request is lost."""
    other = f"client.copy_model_version('models:/{MODEL}/1', {MODEL!r}).version"
    move = f"client.set_registered_model_alias({MODEL!r}, {ALIAS!r}"
    with _load(swarm) as load:
        swarm.registry(f"{move}, {other})")
        until("all serve version 2", lambda: swarm.versions() == ["2"] * 3, timeout_s=30)
    assert load.costs() == {}
    swarm.registry(f"{move}, 1)")
    until("all serve version 1 again", lambda: swarm.versions() == ["1"] * 3, timeout_s=30)


def test_image_rolls_out_and_back(swarm: Swarm) -> None:
    """TorchServe gets another image under load, replica by replica, and its old one again; no request is lost."""
    swarm.make_next_image()
    with _load(swarm) as load:
        swarm.update("torchserve", NEXT)
        until("all have the next image", lambda: swarm.images("torchserve") == {NEXT}, timeout_s=30)
        swarm.roll_back("torchserve")
        until("none has it", lambda: NEXT not in swarm.images("torchserve"), timeout_s=30)
    assert load.costs() == {}
