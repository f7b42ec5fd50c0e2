"""The command `signet-train` as a process."""

import os
import subprocess
import sys
from pathlib import Path

from mlflow import MlflowClient

COMMAND = [str(Path(sys.executable).with_name("signet-train"))]


def signet_train(*options: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Exit code and output; the store is the one of the fixture."""
    return subprocess.run(
        [*COMMAND, *options], capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **environ}
    )


def test_two_processes_log_one_run_and_one_version(tracking_uri: str, tmp_path: Path) -> None:
    """`--devices 2 --strategy ddp` trains once more than it tells; nothing is left in the working directory."""
    before = {file.name for file in tmp_path.iterdir()}
    done = signet_train("--max_epochs=3", "--devices=2", "--strategy=ddp", "--accelerator=cpu", "--threshold=0")
    assert done.returncode == 0, done.stderr
    assert "training 3 epochs on 2 x cpu" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("iris_classification version 1 is now champion: ")
    assert {file.name for file in tmp_path.iterdir()} <= before | {"mlruns"}

    client = MlflowClient(tracking_uri)
    (run,) = client.search_runs([client.get_experiment_by_name("iris_classification").experiment_id])
    assert run.info.status == "FINISHED"
    assert len(client.get_metric_history(run.info.run_id, "val_loss")) == 3
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
        "confusion_matrix.png",
        "learning_curves.png",
    }
    assert len(run.inputs.dataset_inputs) == 3
    assert len(client.search_model_versions("name='iris_classification'")) == 1

    again = signet_train("--skip_if_champion")
    assert (again.returncode, again.stdout) == (
        0,
        "iris_classification version 1 is champion already: nothing to train.\n",
    )


def test_bad_options_are_one_line_and_exit_code_2() -> None:
    """No traceback and no usage text around what is wrong."""
    done = signet_train("--max_epochs", "abc")
    assert (done.returncode, done.stderr) == (
        2,
        "signet-train: --max_epochs has value 'abc'. Expected an integer above 0.\n",
    )


def test_a_server_that_is_down_is_exit_code_2() -> None:
    """Before anything slow is loaded."""
    done = signet_train(MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode == 2
    assert done.stderr.startswith("signet-train: MLflow at http://127.0.0.1:9 cannot be used: ")
    assert done.stderr.count("\n") == 1
