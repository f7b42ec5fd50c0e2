"""The stack for a Swarm is made from Compose's files, the door's too, and says the same in Swarm's words."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testing.repository import ROOT

CPU = ("docker-compose.yml", "docker-compose.public.yml")
SEAWEEDFS = ("docker-compose.yml", "docker-compose.seaweedfs.yml", "docker-compose.public.yml")
WAYS = pytest.mark.parametrize("files", [CPU, SEAWEEDFS], ids=["cpu", "seaweedfs"])
# What Compose's door does by a job, Swarm's does by a service on each machine.
RUN = {"command", "entrypoint", "networks", "init"}
Read = Callable[..., dict[str, Any]]

_script = runpy.run_path(str(ROOT / "deploy" / "swarm" / "stack.py"))


def _stack(configuration: Read, files: tuple[str, ...]) -> dict[str, Any]:
    document: dict[str, Any] = _script["stack"](configuration(*files, "deploy/swarm/stack.yml"))
    return document


def _mounts(service: dict[str, Any], kind: str) -> set[tuple[str, str, bool]]:
    return {
        (mount.get("source", ""), mount["target"], mount.get("read_only", False))
        for mount in service.get("volumes", [])
        if mount["type"] == kind and not mount.get("source", "").endswith("-secrets")
    }


@WAYS
def test_the_same_services(configuration: Read, files: tuple[str, ...]) -> None:
    """Images, commands, users, variables, networks, volumes and limits are Compose's, and so is what confines them."""
    compose, stack = configuration(*files)["services"], _stack(configuration, files)["services"]
    assert stack.keys() == compose.keys() - {"secrets"}
    for name, service in stack.items():
        of_compose = compose[name]
        for same in {"image", "user", "stop_grace_period", "logging"} | (set() if name == "door" else RUN):
            assert service.get(same) == of_compose.get(same), f"{name}: {same}"
        environment = dict(service.get("environment", {}))
        assert environment.pop("RES_OPTIONS", "") == " ".join(of_compose.get("dns_opt", [])), name
        assert environment == of_compose.get("environment", {}), name
        assert _mounts(service, "volume") == _mounts(of_compose, "volume"), name
        in_memory = {target for _, target, _ in _mounts(service, "tmpfs")} - {"/dev/shm"}  # noqa: S108 -- of a container
        assert in_memory == {entry.partition(":")[0] for entry in of_compose.get("tmpfs", [])}, name
        assert service["deploy"]["resources"]["limits"]["memory"] == of_compose["mem_limit"], name
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
        is_job = of_compose["restart"] == "no" and name != "door"
        assert (service["deploy"].get("mode") == "replicated-job") == is_job, name


@WAYS
def test_the_same_walls(configuration: Read, files: tuple[str, ...]) -> None:
    """The networks are Compose's, as far out of reach; nothing but the door is published."""
    compose, stack = configuration(*files), _stack(configuration, files)
    of_compose = {name: network.get("internal") for name, network in compose["networks"].items()}
    networks = {name: network.get("internal") for name, network in stack["networks"].items()}
    # Compose's door has no network, which a stack has no words for: it is alone in one.
    assert networks == {**of_compose, "door": True}
    assert [name for name, service in stack["services"].items() if "door" in service["networks"]] == ["door"]
    assert {network["driver"] for network in stack["networks"].values()} == {"overlay"}
    ports = {name: service["ports"] for name, service in stack["services"].items() if service["ports"]}
    assert ports == {"gateway": [{"mode": "host", "target": 8443, "published": 8443, "protocol": "tcp"}]}


@WAYS
def test_the_same_secrets(configuration: Read, files: tuple[str, ...], tmp_path: Path) -> None:
    """Who mounts a volume of secrets in Compose has Swarm's at the same paths; none is made in vain."""
    script = ROOT / "secrets" / "make_secrets.py"
    for folder in ("postgres", "minio", "mlflow-server"):
        (tmp_path / folder).mkdir()
    runpy.run_path(str(script))["make"](tmp_path, {})
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    compose, stack = configuration(*files)["services"], _stack(configuration, files)
    assert stack["secrets"].pop("door") == {"name": "signet-door", "external": True}
    (door,) = stack["services"].pop("door")["secrets"]
    assert (door["source"], door["uid"], door["mode"]) == ("door", "10005", 0o400)
    read = set()
    for name, service in stack["services"].items():
        folders = {
            Path(mount["target"]).name for mount in compose[name].get("volumes", []) if "secrets" in mount["target"]
        }
        assert {secret["target"].split("/")[0] for secret in service["secrets"]} == folders, name
        for secret in service["secrets"]:
            assert secret["mode"] == 0o400, name
            assert stack["secrets"][secret["source"]] == {
                "name": f"signet-{secret['target'].replace('/', '-')}",
                "external": True,
            }
            read.add(secret["target"])
    assert read == made


@WAYS
def test_each_machine_has_its_door(configuration: Read, files: tuple[str, ...]) -> None:
    """Gateway and door are on each machine, at one volume; the gateway writes nothing there."""
    services = _stack(configuration, files)["services"]
    assert [name for name, it in services.items() if it["deploy"].get("mode") == "global"] == ["door", "gateway"]
    assert _mounts(services["door"], "volume") == {("door", "/run/door", False)}
    assert _mounts(services["gateway"], "volume") == {("door", "/run/door", True)}


@WAYS
def test_what_may_run_twice_is_updated_so(configuration: Read, files: tuple[str, ...]) -> None:
    """A new replica of TorchServe starts before the old one ends; what has data stays where the data is, and is one."""
    services = _stack(configuration, files)["services"]
    first = {
        name for name, it in services.items() if it["deploy"].get("update_config", {}).get("order") == "start-first"
    }
    assert first == {"torchserve"}
    placed = {name for name, it in services.items() if it["deploy"].get("placement")}
    with_data = {name for name, it in services.items() if any("-data" in mount[0] for mount in _mounts(it, "volume"))}
    assert placed == with_data - {"torchserve"} == {"postgres", "minio"}
    assert all(services[name]["deploy"].get("replicas", 1) == 1 for name in placed)


@WAYS
def test_docker_takes_it(configuration: Read, files: tuple[str, ...], tmp_path: Path) -> None:
    """`docker stack` finds nothing in the file that it doesn't know."""
    docker = shutil.which("docker")
    assert docker is not None
    file = tmp_path / "stack.json"
    file.write_text(json.dumps(_stack(configuration, files)))
    done = subprocess.run([docker, "stack", "config", "-c", file], capture_output=True, text=True, check=False)
    if "is not a docker command" in done.stderr or "See 'docker stack --help'" in done.stderr:
        pytest.skip("this docker has no `stack config`")
    assert (done.returncode, done.stderr) == (0, "")
