"""The stack on a Swarm of three machines, as docs/swarm.md brings it there."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

from machines import Lab, Machine

from testing.polling import until
from testing.repository import MODEL, ROOT

if TYPE_CHECKING:
    from pathlib import Path

STACK = "signet"
_TORCHSERVE = "signet/torchserve:0.1.0"
NEXT = f"{_TORCHSERVE}-next"
_SEAWEEDFS = "docker-compose.seaweedfs.yml"
_STORE = "signet/minio:0.1.0"


class Swarm:
    """Three machines, each of which could lead, with the stack; the first has the data.

    Args:
        folder: for files of this test alone.
    """

    def __init__(self, folder: Path) -> None:
        self._env_file = folder / "empty.env"
        self._env_file.touch()
        self.lab = Lab()
        self.machines: dict[str, Machine] = {}

    def up(self) -> None:
        """Bring the stack up, until the client's scenarios have passed."""
        stack = self._stack_file()
        began = time.monotonic()
        self._images = {service["image"] for service in stack["services"].values()} | {"signet/secrets:0.1.0"}
        for name in ("one", "two", "three"):
            self.machines[name] = self.lab.machine(name, self._images)
        first = self.first
        first.docker("swarm", "init", "--advertise-addr", first.address)
        for machine in list(self.machines.values())[1:]:
            self._join(machine)
        first.docker("node", "update", "--label-add", "signet.data=true", first.name)
        make_secrets = ROOT / "deploy" / "swarm" / "make-secrets"
        subprocess.run([make_secrets], env={**os.environ, "DOCKER_HOST": first.host}, check=True, timeout=60)
        first.docker(
            "stack", "deploy", "--compose-file", "-", "--resolve-image", "never", STACK, stdin=json.dumps(stack)
        )
        print(f"swarm: the stack is deployed after {time.monotonic() - began:.0f} s")
        try:
            until("the scenarios pass", lambda: "Complete" in self._states("client"), timeout_s=400, interval_s=1)
        except TimeoutError as error:
            raise AssertionError(self.diagnosis()) from error
        print(f"swarm: the scenarios have passed after {time.monotonic() - began:.0f} s")

    @property
    def first(self) -> Machine:
        """The machine with the data, which is asked about the Swarm."""
        return self.machines["one"]

    def join(self, name: str) -> Machine:
        """Start one more machine and have it join."""
        self.machines[name] = machine = self.lab.machine(name, self._images)
        self._join(machine)
        return machine

    def kill(self, name: str) -> Machine:
        """Have a machine vanish."""
        machine = self.machines.pop(name)
        self.lab.kill(machine)
        return machine

    def forget(self, name: str) -> None:
        """Strike a machine that has vanished off the Swarm's list."""
        self.first.docker("node", "demote", name)
        self.first.docker("node", "rm", "--force", name)

    def make_next_image(self) -> None:
        """Give each machine another image of TorchServe, which differs in a label."""
        for machine in self.machines.values():
            machine.docker("create", "--name", "next", _TORCHSERVE)
            machine.docker("commit", "--change", "LABEL next=true", "next", NEXT)
            machine.docker("rm", "next")

    def update(self, service: str, image: str) -> None:
        """Give a service another image, until the Swarm says that it is done."""
        options = ("--quiet", "--no-resolve-image", "--image", image)
        self.first.docker("service", "update", *options, f"{STACK}_{service}", timeout_s=300)

    def roll_back(self, service: str) -> None:
        """Give a service its last image again, until the Swarm says that it is done."""
        self.first.docker("service", "rollback", "--quiet", f"{STACK}_{service}", timeout_s=300)

    def scale(self, service: str, replicas: int) -> None:
        """Have this many replicas, some time."""
        self.first.docker("service", "scale", "--detach", f"{STACK}_{service}={replicas}")

    def images(self, service: str) -> set[str]:
        """The images of the service's running containers."""
        found = self.containers(service)
        return {machine.docker("inspect", "--format", "{{.Config.Image}}", container) for machine, container in found}

    def containers(self, service: str, of: Machine | None = None) -> list[tuple[Machine, str]]:
        """The service's running containers, of one machine or of all, each with its machine."""
        label = f"label=com.docker.swarm.service.name={STACK}_{service}"
        return [
            (machine, container)
            for machine in ([of] if of else self.machines.values())
            for container in machine.docker("ps", "--quiet", "--filter", label).split()
        ]

    def healthy(self, service: str) -> list[tuple[Machine, str]]:
        """Those of its containers that say that they are well."""
        return [
            (machine, container)
            for machine, container in self.containers(service)
            if machine.docker("inspect", "--format", "{{.State.Health.Status}}", container) == "healthy"
        ]

    def versions(self) -> list[str]:
        """The version that each healthy replica answers with, asked at its own address."""
        body = (ROOT / "sample.json").read_bytes()
        request = f"Request('http://127.0.0.1:8080/predictions/{MODEL}', {body!r}, method='PUT')"
        code = f"from urllib.request import *; print(urlopen({request}).headers['X-Model-Version'])"
        replicas = self.healthy("torchserve")
        return [machine.docker("exec", container, "python", "-c", code) for machine, container in replicas]

    def registry(self, code: str) -> str:
        """Run Python in MLflow's container, with its client as `client`; what it prints."""
        ((machine, container),) = self.healthy("mlflow-server")
        client = "from mlflow import MlflowClient; client = MlflowClient('http://127.0.0.1:5000')"
        return machine.docker("exec", container, "python", "-c", f"{client}\n{code}")

    def diagnosis(self) -> str:
        """What the Swarm says of its machines and tasks."""
        asked = (("node", "ls"), ("stack", "ps", "--no-trunc", STACK))
        return "\n".join(self.first.try_docker(*args).stdout for args in asked)

    def _states(self, service: str) -> str:
        return self.first.docker("service", "ps", "--format", "{{.CurrentState}} {{.Error}}", f"{STACK}_{service}")

    def _join(self, machine: Machine) -> None:
        token = self.first.docker("swarm", "join-token", "--quiet", "manager")
        machine.docker(
            "swarm", "join", "--token", token, "--advertise-addr", machine.address, f"{self.first.address}:2377"
        )

    def _compose(self, *args: str) -> str:
        files = ["docker-compose.yml", *([] if _has_image(_STORE) else [_SEAWEEDFS]), "deploy/swarm/stack.yml"]
        command = ["docker", "compose", "--env-file", self._env_file, *(f"--file={file}" for file in files), *args]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1200)
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    def _stack_file(self) -> dict[str, Any]:
        self._compose("build", "--quiet")
        configuration = self._compose("config", "--format", "json")
        script = ROOT / "deploy" / "swarm" / "stack.py"
        done = subprocess.run([script], input=configuration, capture_output=True, text=True, check=True, timeout=60)
        document: dict[str, Any] = json.loads(done.stdout)
        return document


def _has_image(name: str) -> bool:
    inspect = ["docker", "image", "inspect", name]
    return subprocess.run(inspect, capture_output=True, check=False, timeout=60).returncode == 0
