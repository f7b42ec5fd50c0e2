"""Training again: options, processes, the gate, and the deployment that follows by itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from testing.repository import MODEL, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from stack import Stack

MAY_FAIL_THE_GATE = ("--lr", "0.000001")


def _newest(registry: MlflowClient) -> int:
    return max(int(version.version) for version in registry.search_model_versions(f"name = '{MODEL}'"))


def _runs(registry: MlflowClient) -> int:
    experiment = registry.get_experiment_by_name(MODEL)
    assert experiment is not None
    return len(registry.search_runs([experiment.experiment_id]))


def _output(done: CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


def test_next_version_serves_by_itself(
    stack: Stack,
    registry: MlflowClient,
    champion: Callable[[], ModelVersion],
    wait_for_version: Callable[[object], None],
) -> None:
    """`--max_epochs 50` registers the next version, the gate lets it, and TorchServe serves it within 10 s."""
    before = _newest(registry)
    done = stack.train("--max_epochs", "50")
    assert done.returncode == 0, _output(done)
    assert _newest(registry) == before + 1
    assert int(champion().version) == before + 1, _output(done)
    wait_for_version(before + 1)


@pytest.mark.embedded  # the same gate in both
def test_gate_refuses(
    stack: Stack, registry: MlflowClient, champion: Callable[[], ModelVersion], served_version: Callable[[], str]
) -> None:
    """A version below the threshold is registered but not deployed; the trainer says why and exits 0."""
    before, newest = champion().version, _newest(registry)
    done = stack.train("--max_epochs", "1", *MAY_FAIL_THE_GATE)
    assert done.returncode == 0, _output(done)
    assert _newest(registry) == newest + 1
    assert champion().version == before
    assert served_version() == str(before)
    accuracy = float(registry.get_model_version(MODEL, str(newest + 1)).tags["test_acc"])
    assert accuracy < 0.9
    assert re.search(r"0\.9\b", _output(done)), "the output names the threshold"
    assert "champion" in _output(done)


@pytest.mark.compose  # with its shared memory and its networks; without containers, services/trainer/tests/test_main.py
def test_every_option_and_two_processes(stack: Stack, registry: MlflowClient) -> None:
    """All options, some in Lightning's dotted spelling, reach a training on two processes: one run, one version."""
    newest, runs = _newest(registry), _runs(registry)
    done = stack.train(
        *("--trainer.max_epochs=2", "--lr", "0.000002", "--batch_size", "8", "--seed", "7", "--num_nodes", "1"),
        *("--trainer.devices=2", "--strategy", "ddp", "--accelerator", "cpu"),
    )
    assert done.returncode == 0, _output(done)
    assert (_newest(registry), _runs(registry)) == (newest + 1, runs + 1)
    run = registry.get_run(registry.get_model_version(MODEL, str(newest + 1)).run_id or "")
    expected = {"max_epochs": "2", "batch_size": "8", "seed": "7", "devices": "2", "strategy": "ddp"}
    expected |= {"accelerator": "cpu", "num_nodes": "1"}
    assert {name: run.data.params.get(name) for name in expected} == expected
    assert float(run.data.params["lr"]) == 0.000002


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--max_epochs", "0"], ["max_epochs", "'0'"]),
        (["--trainer.max_epochs=many"], ["max_epochs", "'many'"]),
        (["--lr", "nan"], ["lr", "'nan'"]),
        (["--no_such_option", "1"], ["no_such_option"]),
    ],
)
@pytest.mark.embedded  # the same program in both; a container's start each would only cost time
def test_bad_option(stack: Stack, registry: MlflowClient, args: list[str], named: list[str]) -> None:
    """A wrong option is one clear line that names it and its value, exit code 2, and no run."""
    runs = _runs(registry)
    done = stack.train(*args)
    assert done.returncode == 2, _output(done)
    assert all(word in done.stderr for word in named), done.stderr
    assert "Traceback" not in done.stderr
    assert _runs(registry) == runs


@pytest.mark.embedded  # a process of this machine in both
def test_mlflow_run(stack: Stack, registry: MlflowClient, champion: Callable[[], ModelVersion]) -> None:
    """`mlflow run services/trainer` trains against the running server, in the run that MLflow made for it."""
    newest, runs, before = _newest(registry), _runs(registry), champion().version
    command = ["mlflow", "run", "services/trainer", "-P", "max_epochs=2", "--env-manager", "local"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AWS_"))}
    environment["MLFLOW_TRACKING_URI"] = stack.mlflow_url
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, _output(done)
    assert _newest(registry) == newest + 1
    run = registry.get_run(registry.get_model_version(MODEL, str(newest + 1)).run_id or "")
    assert run.data.params["max_epochs"] == "2"
    assert run.info.status == "FINISHED"
    assert _runs(registry) <= runs + 1, "no second run beside the one that `mlflow run` made"
    assert int(champion().version) in {int(before), newest + 1}
