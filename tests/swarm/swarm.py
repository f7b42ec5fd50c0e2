"""The stack on a Swarm of three machines, as docs/swarm.md brings it there."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import time
from typing import TYPE_CHECKING, Any

from load import PORT, Caller
from machines import Lab, Machine

from testing.polling import until
from testing.repository import MODEL, ROOT

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

STACK = "signet"
_TORCHSERVE = "signet/torchserve:0.1.0"
NEXT = f"{_TORCHSERVE}-next"
_FOLDER = ROOT / "deploy" / "swarm"
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
        self._authority = folder / "door.pem"
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
        _script("make-secrets", of=first)
        self.refusal = self._deploy(stack)
        self.signet("certificate", "make", "--hosts", ",".join(self.lab.addresses))
        self.caller = self.token("caller")
        done = self._deploy(stack)
        assert done.returncode == 0, done.stderr
        print(f"swarm: the stack is deployed after {time.monotonic() - began:.0f} s")
        try:
            until("the scenarios pass", lambda: "Complete" in self._states("client"), timeout_s=400, interval_s=1)
        except TimeoutError as error:
            raise AssertionError(self.diagnosis()) from error
        print(f"swarm: the scenarios have passed after {time.monotonic() - began:.0f} s")
        self._authority.write_text(ssl.get_server_certificate((first.address, PORT), timeout=5), "utf-8")

    @property
    def first(self) -> Machine:
        """The machine with the data, which is asked about the Swarm."""
        return self.machines["one"]

    def signet(self, *words: str, of: Machine | None = None) -> str:
        """Run one of the door's commands on a machine, the first one if none is named; what it printed."""
        return _script("signet", *words, of=of or self.first)

    def token(self, name: str, of: Machine | None = None) -> Caller:
        """Someone with a new token."""
        return Caller(self.signet("token", "create", name, of=of), self._authority)

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
        """Give a service another image, some time."""
        options = ("--quiet", "--detach", "--no-resolve-image", "--image", image)
        self.first.docker("service", "update", *options, f"{STACK}_{service}")

    def roll_back(self, service: str) -> None:
        """Give a service its last image again, some time."""
        self.first.docker("service", "rollback", "--quiet", "--detach", f"{STACK}_{service}")

    def scale(self, service: str, replicas: int) -> None:
        """Have this many replicas, some time."""
        self.first.docker("service", "scale", "--detach", f"{STACK}_{service}={replicas}")

    def images(self, service: str) -> set[str]:
        """The images of the service's running containers."""
        return {self._inspect(*found, "{{.Config.Image}}") for found in self.containers(service)}

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
        found = self.containers(service)
        return [it for it in found if self._inspect(*it, "{{.State.Health.Status}}") == "healthy"]

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

    def _deploy(self, stack: dict[str, Any]) -> CompletedProcess[str]:
        command = ("stack", "deploy", "--compose-file", "-", "--resolve-image", "never", STACK)
        return self.first.try_docker(*command, stdin=json.dumps(stack))

    @staticmethod
    def _inspect(machine: Machine, container: str, template: str) -> str:
        """What the engine knows of a container; nothing of one that has just gone."""
        return machine.try_docker("inspect", "--format", template, container).stdout.strip()

    def _states(self, service: str) -> str:
        return self.first.docker("service", "ps", "--format", "{{.CurrentState}} {{.Error}}", f"{STACK}_{service}")

    def _join(self, machine: Machine) -> None:
        token = self.first.docker("swarm", "join-token", "--quiet", "manager")
        machine.docker(
            "swarm", "join", "--token", token, "--advertise-addr", machine.address, f"{self.first.address}:2377"
        )

    def _compose(self, *args: str) -> str:
        store = [] if _has_image(_STORE) else [_SEAWEEDFS]
        files = ["docker-compose.yml", *store, "docker-compose.public.yml", "deploy/swarm/stack.yml"]
        command = ["docker", "compose", "--env-file", self._env_file, *(f"--file={file}" for file in files), *args]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1200)
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    def _stack_file(self) -> dict[str, Any]:
        self._compose("build", "--quiet")
        configuration = self._compose("config", "--format", "json")
        done = subprocess.run([_FOLDER / "stack.py"], input=configuration, capture_output=True, text=True, check=True)
        document: dict[str, Any] = json.loads(done.stdout)
        return document


def _script(name: str, *words: str, of: Machine) -> str:
    """Run one of deploy/swarm's scripts as on that machine; what it printed."""
    command, environment = [_FOLDER / name, *words], {**os.environ, "DOCKER_HOST": of.host}
    done = subprocess.run(command, env=environment, input="", capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{name} {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()


def _has_image(name: str) -> bool:
    inspect = ["docker", "image", "inspect", name]
    return subprocess.run(inspect, capture_output=True, check=False, timeout=60).returncode == 0
