"""The stack on several machines: every address answers, and what fails or moves costs what it must and no more.

The tests build on one another: a machine that was killed is not there for those below.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from load import PORT, THREADS, Load
from swarm import NEXT

from testing.polling import until
from testing.repository import ALIAS, MODEL, ROOT

if TYPE_CHECKING:
    from machines import Machine
    from swarm import Swarm

_PORTS = (5000, 5432, 7070, 7071, 8080, 8081, 8082, 8083, 8090, 8333, 8405, 8443, 9000)


def _load(swarm: Swarm) -> Load:
    return Load(swarm.caller, [machine.address for machine in swarm.machines.values()])


def _open_ports(machine: Machine) -> list[int]:
    found = []
    for port in _PORTS:
        with suppress(OSError), socket.create_connection((machine.address, port), timeout=2):
            found.append(port)
    return found


def _all_well(swarm: Swarm, replicas: int) -> bool:
    return len(swarm.healthy("torchserve")) == len(swarm.containers("torchserve")) == replicas


def _all_have(swarm: Swarm, image: str) -> bool:
    return swarm.images("torchserve") == {image} and _all_well(swarm, 3)


def test_every_address_answers(swarm: Swarm) -> None:
    """Three replicas serve, one on each machine, and each machine's address leads to them."""
    assert sorted(machine.name for machine, _ in swarm.healthy("torchserve")) == ["one", "three", "two"]
    assert [swarm.caller.predict(machine.address) for machine in swarm.machines.values()] == ["1"] * 3


def test_nothing_is_deployed_without_a_token(swarm: Swarm) -> None:
    """Before the first token was made, `docker stack deploy` refused."""
    assert swarm.refusal.returncode != 0
    assert "signet-door" in swarm.refusal.stderr


def test_a_token_counts_at_every_address(swarm: Swarm) -> None:
    """Made on one machine and revoked on another, it opens all and then none within seconds; no request is lost."""
    addresses = [machine.address for machine in swarm.machines.values()]
    with _load(swarm) as load:
        other = swarm.token("other", of=swarm.machines["two"])
        until("it opens all", lambda: [other.predict(it) for it in addresses] == ["1"] * 3, timeout_s=20)
        swarm.signet("token", "revoke", "other", of=swarm.machines["three"])
        until("it opens none", lambda: {other.ask(it).status_code for it in addresses} == {401}, timeout_s=20)
    assert load.costs() == {}


def test_predictions_are_all_that_is_published(swarm: Swarm) -> None:
    """Of the stack's ports each machine has the predictions' open, and no other."""
    assert [_open_ports(machine) for machine in swarm.machines.values()] == [[PORT]] * 3


def test_who_shares_no_network_does_not_talk(swarm: Swarm) -> None:
    """From the client's networks the gateway and MLflow can be reached, on whichever machine; nothing else can."""
    targets = [("gateway", 8080), ("mlflow-server", 5000), ("postgres", 5432), ("minio", 9000)]
    targets += [("torchserve", port) for port in (8080, 8081, 8083)]
    code = f"""
import socket
from concurrent.futures import ThreadPoolExecutor
def reached(target):
    try:
        socket.create_connection(target, timeout=2).close()
    except OSError:
        return ""
    return target[0]
print(*ThreadPoolExecutor(8).map(reached, {targets}))
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
    assert _open_ports(machine) == [PORT]
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
    (old,) = swarm.images("torchserve")
    swarm.make_next_image()
    with _load(swarm) as load:
        swarm.update("torchserve", NEXT)
        until("all have it", lambda: _all_have(swarm, NEXT), timeout_s=200, interval_s=1)
        swarm.roll_back("torchserve")
        until("none has it", lambda: _all_have(swarm, old), timeout_s=200, interval_s=1)
    assert load.costs() == {}


def test_machine_vanishes_and_another_joins(swarm: Swarm) -> None:
    """What was under way at the address of the machine that vanishes is lost, and nothing that was asked elsewhere.

    Unless it had two replicas: then one may have been asked again for what the other was computing.
    The new machine gets the lost replica, and answers at its address without further ado.
    """
    with _load(swarm) as load:
        load.run_for(2)
        with_replica = [machine.name for machine, _ in swarm.healthy("torchserve") if machine is not swarm.first]
        fewest = min(with_replica, key=with_replica.count)
        killed = swarm.kill(fewest)
        joined = swarm.join("four")
        until("three replicas serve again", lambda: _all_well(swarm, 3), timeout_s=180, interval_s=1)
    costs = load.costs()
    assert set(costs) <= {killed.address} or with_replica.count(fewest) > 1
    assert all(len(it.lost) <= THREADS for it in costs.values()), "what was under way"
    assert not any(it.turned_away for address, it in costs.items() if address != killed.address)
    assert joined in [machine for machine, _ in swarm.healthy("torchserve")]
    until("it answers", lambda: swarm.caller.predict(joined.address) == "1", timeout_s=30)
    swarm.forget(killed.name)


def test_machine_is_drained(swarm: Swarm) -> None:
    """A machine that is drained under load answers what it has taken, and then closes its address. Nothing is lost."""
    drained = next(swarm.machines[name] for name in ("two", "three") if name in swarm.machines)
    with _load(swarm) as load:
        swarm.first.docker("node", "update", "--availability", "drain", drained.name)
        until(
            "its tasks are elsewhere",
            lambda: not drained.docker("ps", "-q") and _all_well(swarm, 3),
            timeout_s=150,
            interval_s=1,
        )
    costs = load.costs()
    assert set(costs) == {drained.address}
    assert costs[drained.address].lost == []
    assert costs[drained.address].turned_away > 0


def test_replicas_come_up_without_the_registry(swarm: Swarm) -> None:
    """A replica that finds no registry serves what its machine has, and on a machine that has nothing it says so."""
    swarm.scale("mlflow-server", 0)
    until("the registry is gone", lambda: not swarm.containers("mlflow-server"), timeout_s=60)
    before = set(swarm.containers("torchserve"))
    machine, container = next(iter(before))
    with Load(swarm.caller, [swarm.first.address]) as load:
        machine.docker("kill", container)
        (again,) = until("another one starts", lambda: set(swarm.containers("torchserve")) - before, timeout_s=60)
        fresh = swarm.join("five")
        swarm.scale("torchserve", 4)
        (empty,) = until("the new machine has one", lambda: swarm.containers("torchserve", fresh), timeout_s=60)
        until("the other one serves", lambda: again in swarm.healthy("torchserve"), timeout_s=90, interval_s=1)
        said = "No registered model is served. The registry is not reachable"
        until("it says that it has nothing", lambda: said in _health(*empty), timeout_s=60, interval_s=1)
    assert load.costs() == {}


def _health(machine: Machine, container: str) -> str:
    """What the replica answers at `/ready`."""
    check = "python -m signet_torchserve.control.health 2>&1 || true"
    return machine.docker("exec", container, "sh", "-c", check)
