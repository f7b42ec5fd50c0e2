"""The stack in containers, as a project of its own on ports of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psutil
from stack import BringUp, head_commit, part_of, resident

from testing.docker import docker
from testing.polling import until
from testing.ports import free_port
from testing.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from subprocess import CompletedProcess

PROJECT = "signet-integration"
_SEAWEEDFS = "docker-compose.seaweedfs.yml"
_BUILD_S, _UP_S, _JOB_S = 1200, 300, 180


class ComposeStack:
    """The containers of one Compose project whose volumes were empty when it came up."""

    kind = "compose"
    store = "minio"

    def __init__(self, folder: Path) -> None:
        # A developer's own .env must not steer the test: this one is empty; the ports come from the environment.
        self._env_file = folder / "empty.env"
        self._env_file.touch()
        self._ports = {"MLFLOW_PORT": str(free_port()), "TORCHSERVE_PORT": str(free_port())}
        self.commit = head_commit()
        self._settings = {**self._ports, "GIT_COMMIT": self.commit or ""}
        self._files = ["-f", "docker-compose.yml"]
        if not self._has_store_image():
            self._files += ["-f", _SEAWEEDFS]
        self.down(volumes=True)
        self.compose("build", "--quiet", timeout_s=_BUILD_S, check=True)
        self.first_up = self._up()

    # The Stack -------------------------------------------------------------------------------------------------------

    @property
    def mlflow_url(self) -> str:
        return f"http://127.0.0.1:{self._ports['MLFLOW_PORT']}"

    @property
    def predictions_url(self) -> str:
        return f"http://127.0.0.1:{self._ports['TORCHSERVE_PORT']}"

    def metrics(self) -> str:
        return self.told("http://127.0.0.1:8082/metrics")

    def told(self, url: str) -> str:
        """What TorchServe's container answers to itself."""
        code = f"import urllib.request as r; print(r.urlopen('{url}').read().decode())"
        return self.compose("exec", "-T", "torchserve", "python", "-c", code, check=True).stdout

    @property
    def environment(self) -> dict[str, str]:
        files = os.pathsep.join(self._files[1::2])
        project = {"COMPOSE_PROJECT_NAME": PROJECT, "COMPOSE_FILE": files, "COMPOSE_ENV_FILES": str(self._env_file)}
        return {**self._settings, **project}

    def train(self, *args: str) -> CompletedProcess[str]:
        return self.compose("run", "--rm", "-T", "trainer", *args)

    def client(self, *args: str, stdin: str | None = None) -> CompletedProcess[str]:
        return self.compose("run", "--rm", "-T", "--no-deps", "client", *args, stdin=stdin)

    def up_again(self) -> BringUp:
        return self._up()

    def down_and_up(self) -> BringUp:
        self.down(volumes=False)
        return self._up()

    def kill(self, service: str) -> None:
        # From outside, and not by `docker kill`: after that the restart policy leaves the container as it is.
        os.kill(self.inspect(service)["State"]["Pid"], signal.SIGKILL)

    def kill_part(self, part: str) -> None:
        commands = self.processes("torchserve")
        pids = [pid for pid in commands if part_of(psutil.Process(pid)) == part]
        assert pids, f"{part} runs: {commands}"
        for pid in pids:
            with suppress(ProcessLookupError):  # it may have ended with the one before
                os.kill(pid, signal.SIGKILL)

    def stop(self, service: str) -> None:
        self.compose("stop", service, check=True)

    def start(self, service: str) -> None:
        self.compose("up", "-d", "--no-deps", "--wait", service, check=True)

    def memory(self, service: str) -> int:
        return resident(self.processes(service))

    def diagnosis(self) -> str:
        state = self.compose("ps", "--all").stdout
        logs = self.compose("logs", "--no-color", "--tail", "25").stdout
        return f"{state}\n{logs}"

    # More, for tests of containers only -------------------------------------------------------------------------------

    def compose(
        self,
        *args: str,
        stdin: str | None = None,
        timeout_s: float = _JOB_S,
        check: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> CompletedProcess[str]:
        """Run `docker compose` for this project."""
        command = ["docker", "compose", "-p", PROJECT, "--env-file", str(self._env_file), *self._files, *args]
        done = subprocess.run(
            command,
            env={**os.environ, **self._settings, **(env or {})},
            cwd=ROOT,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        assert not check or done.returncode == 0, (
            f"{' '.join(args)} ended with {done.returncode}:\n{done.stderr[-4000:]}"
        )
        return done

    def down(self, *, volumes: bool) -> None:
        """Remove containers and networks, and the data too if `volumes` says so."""
        data = ("--volumes", "--timeout", "1") if volumes else ()  # nothing is left to be closed in good order
        self.compose("--profile", "*", "down", "--remove-orphans", *data, check=True)
        if volumes:  # those too that another set of files had made
            own = ["--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}"]
            if names := docker("volume", "ls", *own).split():
                docker("volume", "rm", *names)

    def config(self) -> dict[str, Any]:
        """The merged Compose configuration."""
        document = json.loads(self.compose("config", "--format", "json", check=True).stdout)
        assert isinstance(document, dict)
        return document

    def containers(self) -> dict[str, str]:
        """Container by service, those that have exited too."""
        lines = self.compose("ps", "--all", "--format", "json", check=True).stdout.splitlines()
        return {row["Service"]: row["ID"] for row in map(json.loads, lines)}

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine knows of the service's container."""
        (document,) = _inspect(self.containers()[service])
        return document

    @contextmanager
    def laid_over(self, file: str) -> Iterator[None]:
        """Have this Compose file laid over the others, and everything that runs follow it."""
        served = ("up", "--detach", "--no-deps", "--wait")
        self._files += ["-f", file]
        try:
            self.compose("run", "--rm", "secrets", check=True)
            for service in ("mlflow-server", "torchserve"):
                self.compose(*served, service, check=True)
            yield
        finally:
            del self._files[-2:]
            for service in ("mlflow-server", "torchserve"):
                self.compose(*served, service, check=True)

    def secret(self, service: str, name: str) -> str:
        """A password as the service's secrets have it."""
        return self.compose("exec", "-T", service, "cat", f"/run/secrets/{service}/{name}", check=True).stdout

    def replicas(self) -> list[dict[str, Any]]:
        """What the engine knows of each of TorchServe's containers."""
        return _inspect(*self.compose("ps", "--all", "--quiet", "torchserve", check=True).stdout.split())

    def scale(self, replicas: int) -> None:
        """Have this many replicas of TorchServe, all of them healthy."""
        self.compose(
            "up", "--detach", "--no-deps", "--wait", "--scale", f"torchserve={replicas}", "torchserve", check=True
        )

    def processes(self, service: str) -> dict[int, str]:
        """Command by process id on this machine, for all that runs in the service's container."""
        lines = docker("top", self.containers()[service], "-eo", "pid,args").splitlines()[1:]
        rows = (line.split(maxsplit=1) for line in lines)
        return {int(pid): args for pid, args in rows}

    def python(self, service: str, code: str) -> CompletedProcess[str]:
        """Run Python code in a new container of the service, with the service's networks, user and limits."""
        run = ("run", "--rm", "-T", "--no-deps", "--entrypoint", "python", service, "-c", code)
        return self.compose(*run)

    def _up(self) -> BringUp:
        """`docker compose up`, until the client's container has ended."""
        began = datetime.now(UTC).isoformat()
        self.compose("up", "--detach", timeout_s=_UP_S, check=True)
        exit_code = until("the client ends", self._client_exit, timeout_s=_UP_S, interval_s=0.5)[0]
        # A container that is started again goes on in the log that it has.
        logs = self.compose("logs", "--no-log-prefix", "--no-color", "--since", began, "client").stdout
        return BringUp(exit_code, logs)

    def _client_exit(self) -> tuple[int] | None:
        if "client" not in self.containers():
            return None
        state = self.inspect("client")["State"]
        return (int(state["ExitCode"]),) if state["Status"] == "exited" else None

    def _has_store_image(self) -> bool:
        """Whether the S3 store's own image is here or can be pulled; SeaweedFS stands in where it can't."""
        base = self._store_image()
        inspect = subprocess.run(["docker", "image", "inspect", base], capture_output=True, check=False, timeout=60)
        if inspect.returncode == 0:
            return True
        try:
            pull = subprocess.run(["docker", "pull", "-q", base], capture_output=True, check=False, timeout=120)
        except subprocess.TimeoutExpired:
            return False
        return pull.returncode == 0

    def _store_image(self) -> str:
        """The image that minio/Dockerfile builds on."""
        lines = (ROOT / "minio" / "Dockerfile").read_text("utf-8").splitlines()
        (image,) = [
            line.partition("=")[2].strip() for line in lines if line.startswith("ARG") and "silo" in line.lower()
        ]
        return image


def _inspect(*containers: str) -> list[dict[str, Any]]:
    documents = json.loads(docker("inspect", *containers))
    assert isinstance(documents, list)
    return documents


@contextmanager
def compose_stack(folder: Path) -> Iterator[ComposeStack]:
    """The stack on fresh volumes; its containers, networks and volumes are removed on the way out."""
    stack: ComposeStack | None = None
    try:
        stack = ComposeStack(folder)
        yield stack
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove the project whatever came of its start."""
    cleaner = ComposeStack.__new__(ComposeStack)
    cleaner.__dict__.update(_env_file=folder / "empty.env", _settings={}, _files=["-f", "docker-compose.yml"])
    cleaner.down(volumes=True)
