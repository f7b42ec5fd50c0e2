"""What a test may ask of the running stack, whichever way it runs."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psutil

from testing.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from subprocess import CompletedProcess


@dataclass(frozen=True)
class BringUp:
    """How the client's scenarios ended when the stack came up."""

    exit_code: int
    output: str


class Stack(Protocol):
    """A stack that came up from nothing, trained once and serves."""

    kind: str
    store: str
    """The service that is the S3 store."""
    first_up: BringUp
    commit: str | None
    """The repository's commit when the stack trained first, None where this is no clone."""

    @property
    def mlflow_url(self) -> str:
        """MLflow, as a person on this machine opens it."""

    @property
    def predictions_url(self) -> str:
        """TorchServe's inference address, as a person on this machine asks it."""

    def metrics(self) -> str:
        """What TorchServe tells Prometheus at its metrics address."""

    @property
    def environment(self) -> dict[str, str]:
        """What a person's shell would hold, so that the README's commands meet this stack."""

    def train(self, *args: str) -> CompletedProcess[str]:
        """Run the trainer to its end."""

    def client(self, *args: str, stdin: str | None = None) -> CompletedProcess[str]:
        """Run `signet` among the sample files, at this stack's TorchServe."""

    def up_again(self) -> BringUp:
        """A second `up` of a stack that runs."""

    def down_and_up(self) -> BringUp:
        """Stop everything and start it again on the same data; addresses may move."""

    def kill(self, service: str) -> None:
        """SIGKILL a service as a whole; it comes back as it does for a user, or this call starts it again."""

    def kill_part(self, part: str) -> None:
        """SIGKILL one of the torchserve service's processes (`part_of`), as `kill` does the whole."""

    def stop(self, service: str) -> None:
        """Stop one service in good order."""

    def start(self, service: str) -> None:
        """Start a stopped service again."""

    def memory(self, service: str) -> int:
        """Bytes that the service's processes have in memory."""

    def diagnosis(self) -> str:
        """State of the services and the last lines of their logs."""


def part_of(process: psutil.Process) -> str | None:
    """Which part of TorchServe this is: java, worker, enforcement, controller, or forking, which forks the workers."""
    command = process.cmdline()
    if "signet_torchserve.worker.forking" in command:
        # So it is in the workers', which it has forked; each of them stands in its model's archive.
        return "worker" if Path(process.cwd()).parent.name == "archives" else "forking"
    if command and Path(command[0]).name == "java":
        return "java"
    if any(word.endswith("model_service_worker.py") for word in command):
        return "worker"
    if "signet_contract.enforcement.service" in command:
        return "enforcement"
    return "controller" if command[1:] and command[1].endswith("/signet-torchserve") else None


def resident(pids: Iterable[int]) -> int:
    """Bytes that processes have in memory, as far as they still run."""
    total = 0
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            total += psutil.Process(pid).memory_info().rss
    return total


def head_commit() -> str | None:
    """The commit that is checked out, None where this is no clone."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return head.stdout.strip() if head.returncode == 0 else None
