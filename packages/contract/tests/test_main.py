from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from signet_contract import Contract, Rejected

from testing.mlflow_store import empty_store

COMMAND = Path(sys.executable).with_name("signet-contract")
RIGHT = b'{"inputs": {"km": [5.5]}}'
WRONG = b'{"inputs": {"km": ["x"]}}'


def ask(*arguments: object, body: bytes = b"", **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a person runs it, with a body piped in."""
    done = subprocess.run(
        [COMMAND, *map(str, arguments)], input=body, capture_output=True, check=False, env=os.environ | environment
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def model(folder: Path, **columns: str) -> Path:
    """A folder with nothing but the MLmodel of a model with such columns."""
    signature: Any = None
    if columns:
        signature = ModelSignature(Schema([ColSpec(type_, name) for name, type_ in columns.items()])).to_dict()
    folder.mkdir()
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {}, "signature": signature}))
    return folder


@pytest.fixture
def ride(tmp_path: Path) -> Path:
    return model(tmp_path / "ride", km="double")


def test_a_right_body(ride: Path) -> None:
    """From the folder or the file, from a pipe or a file: one word, and 0."""
    file = ride.parent / "body.json"
    file.write_bytes(RIGHT)
    for done in (ask("check", ride, "-", body=RIGHT), ask("check", ride / "MLmodel", file)):
        assert (done.returncode, done.stdout, done.stderr) == (0, "right\n", "")


def test_a_wrong_body(ride: Path) -> None:
    """What the server would say, indented, and 1."""
    with pytest.raises(Rejected) as rejected:
        Contract.load(ride).check(WRONG)
    done = ask("check", ride, "-", body=WRONG)
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout) == json.loads(json.dumps(rejected.value.document()))
    assert done.stdout.startswith('{\n  "code": 400,\n')


def test_the_content_type_and_what_is_let_through_are_said(ride: Path) -> None:
    """CSV is CSV by its header alone, and the policy is that of serving.allow."""
    csv, extra = b"km\n5.5\n", b'{"inputs": {"km": [5.5], "a": [1]}}'
    assert ask("check", ride, "-", body=csv).returncode == 1
    assert ask("check", ride, "-", "--content-type", "text/csv", body=csv).returncode == 0
    assert ask("check", ride, "-", body=extra).returncode == 1
    assert ask("check", ride, "-", "--allow", "nulls, extra_columns", body=extra).returncode == 0


def test_what_cannot_be_decided(ride: Path, tmp_path: Path) -> None:
    """One line on stderr names the thing and what is wrong with it, and 2."""
    unsigned = model(tmp_path / "unsigned")
    text = tmp_path / "text"
    text.write_text("no: [model")
    no_mlflow = tmp_path / "mlflow.py"
    no_mlflow.write_text("raise ModuleNotFoundError('no', name='mlflow')")
    without = {"PYTHONPATH": str(tmp_path)}
    for done, said in [
        (ask("check", tmp_path / "gone", "-"), "gone: No such file"),
        (ask("check", tmp_path, "-"), "MLmodel: No such file"),
        (ask("check", ride, tmp_path / "gone"), "gone cannot be read: No such file"),
        (ask("check", unsigned, "-"), "has no signature"),
        (ask("check", text, "-"), "is no MLmodel file"),
        (ask("diff", ride, unsigned), "has no signature"),
        (ask("diff", tmp_path / "gone", ride), "gone: No such file"),
        (ask("check", ride, "-", body=WRONG, **without), "pip install 'signet-contract[enforcement]'"),
        (ask("check", "models:/ride/1", "-", **without), "pip install 'signet-contract[enforcement]'"),
    ]:
        assert (done.returncode, done.stdout) == (2, ""), done
        assert done.stderr.startswith("signet-contract: "), done
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1 or "is no MLmodel file" in said
    for wrong in ([], ["check"], ["check", ride, "-", "--allow", "everything"]):
        assert ask(*wrong).returncode == 2
    assert "everything: expected some of extra_columns" in ask("check", ride, "-", "--allow", "everything").stderr


def test_the_breaking_changes_come_first(tmp_path: Path) -> None:
    """Exit code 1 is for a breaking change alone."""
    old, wider = model(tmp_path / "old", km="integer"), model(tmp_path / "wider", km="float")
    added = model(tmp_path / "added", km="float", minutes="double")
    done = ask("diff", old, added)
    assert (done.returncode, done.stderr) == (1, "")
    breaking, compatible = done.stdout.splitlines()
    assert breaking.startswith("breaking: column 'minutes' is new and is required")
    assert compatible.startswith("compatible: column 'km' is float instead of integer")
    done = ask("diff", old, wider)
    assert (done.returncode, done.stdout.splitlines()) == (0, [compatible])
    assert (ask("diff", old, old / "MLmodel").returncode, ask("diff", old, old).stdout) == (0, "no change\n")


@pytest.mark.filterwarnings("ignore:The ``noload``")  # MLflow's registry asks SQLAlchemy so
def test_models_that_mlflow_knows(ride: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a run, and by an alias; one that is not there is named."""
    monkeypatch.chdir(tmp_path)
    store = empty_store(tmp_path)
    client = mlflow.MlflowClient(store, store)
    run = client.create_run(client.create_experiment("rides", f"{tmp_path}/artifacts")).info.run_id
    client.log_artifacts(run, str(ride), "model")
    client.create_registered_model("ride")
    client.create_model_version("ride", f"{tmp_path}/artifacts/{run}/artifacts/model", run)
    client.set_registered_model_alias("ride", "champion", "1")
    told = {"MLFLOW_TRACKING_URI": store}
    done = ask("diff", f"runs:/{run}/model", "models:/ride@champion", **told)
    assert (done.returncode, done.stdout) == (0, "no change\n"), done
    done = ask("check", "models:/ride/2", "-", body=RIGHT, **told)
    assert (done.returncode, done.stdout) == (2, "")
    assert "signet-contract: The model models:/ride/2 cannot be fetched: " in done.stderr
