"""The stack as plain processes of this machine."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import psutil
import requests
from stack import BringUp, head_commit, part_of, resident

from embedded.errors import ServiceDied
from embedded.processes import orphans
from embedded.stack import Stack as Processes
from embedded.stack import running
from testing.polling import until
from testing.repository import MODEL, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from subprocess import CompletedProcess

SERVICES = ("postgres", "seaweedfs", "mlflow-server", "torchserve")


class EmbeddedStack:
    """PostgreSQL, SeaweedFS, MLflow and TorchServe on free ports, their data in one folder."""

    kind = "embedded"
    store = "seaweedfs"

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._running = ExitStack()
        self.processes = self._enter()
        self.commit = head_commit()
        trained = self.train()
        assert trained.returncode == 0, trained.stdout + trained.stderr
        self.first_up = self._scenarios()

    @property
    def mlflow_url(self) -> str:
        return self.processes.urls.mlflow

    @property
    def predictions_url(self) -> str:
        return self.processes.urls.torchserve

    def metrics(self) -> str:
        answer = requests.get(f"{self.processes.urls.metrics}/metrics", timeout=10)
        answer.raise_for_status()
        return answer.text

    @property
    def environment(self) -> dict[str, str]:
        return {}

    def train(self, *args: str) -> CompletedProcess[str]:
        return self.processes.run("signet-train", *args)

    def client(self, *args: str, stdin: str | None = None, url: str | None = None) -> CompletedProcess[str]:
        """As a stack's, or at another address."""
        env = self.processes.env | ({"SIGNET_URL": url} if url else {})
        return subprocess.run(
            ["signet", *args],
            env=env,
            cwd=SAMPLES,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def up_again(self) -> BringUp:
        """What a second `make up` does for a stack that runs: the trainer looks and leaves everything as it is."""
        looked = self.train("--skip_if_champion")
        assert looked.returncode == 0, looked.stdout + looked.stderr
        return self._scenarios()

    def down_and_up(self) -> BringUp:
        self._running.close()
        self.processes = self._enter()
        return self._scenarios()

    def kill(self, service: str) -> None:
        self.processes.kill(service)
        self.processes.start(service)

    def kill_part(self, part: str) -> None:
        processes = self._parts(part)
        assert processes, f"{part} runs"
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # it may have ended with the one before
                process.kill()
        if part in {"java", "controller"}:  # the service dies with them instead of lingering, and `make up` with it
            until("the service's death", self._is_dead, timeout_s=20)
            self.processes.stop("torchserve")
            self.processes.start("torchserve")

    def stop(self, service: str) -> None:
        self.processes.stop(service)

    def start(self, service: str) -> None:
        self.processes.start(service)

    def memory(self, service: str) -> int:
        return resident(process.pid for process in psutil.Process(self.processes.pid(service)).children(recursive=True))

    def diagnosis(self) -> str:
        return "\n".join(f"── {name} ──\n{self.processes.folder.tail(name, lines=25)}" for name in SERVICES)

    def close(self) -> None:
        self._running.close()

    def _enter(self) -> Processes:
        return self._running.enter_context(running(self._folder))

    def _scenarios(self) -> BringUp:
        self._wait_until_served()
        done = self.client("scenarios")
        return BringUp(done.returncode, done.stdout + done.stderr)

    def _wait_until_served(self) -> None:
        """Until a prediction is answered."""
        until(f"{MODEL} is served", lambda: self.client("predict").returncode == 0, timeout_s=60)

    def _is_dead(self) -> bool:
        try:
            self.processes.check()
        except ServiceDied:
            return True
        return False

    def _parts(self, part: str) -> list[psutil.Process]:
        found = []
        for process in orphans.find(self._folder):
            with suppress(psutil.Error):
                if part_of(process) == part:
                    found.append(process)
        return found


@contextmanager
def embedded_stack(folder: Path) -> Iterator[EmbeddedStack]:
    """The stack in this folder, stopped on the way out."""
    stack = EmbeddedStack(folder)
    try:
        yield stack
    finally:
        stack.close()
