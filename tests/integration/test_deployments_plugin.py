"""`mlflow deployments … -t torchserve` and `signet deploy`, over the network, with a model that is not Iris.

On one stack only: they are processes of this machine, which know two addresses and the registry's tags. What containers
add is held by the pages' commands (test_readme.py): a model that is logged, created and asked from this machine, and
`signet deploy` in the client's container.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from click import ClickException
from mlflow.exceptions import MlflowException

from testing.polling import until
from testing.ports import free_port
from testing.repository import ALIAS, MODEL, ROOT, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from subprocess import CompletedProcess

    from embedded_stack import EmbeddedStack
    from mlflow import MlflowClient
    from mlflow.deployments import BaseDeploymentClient
    from stack import Stack

pytestmark = pytest.mark.embedded

NAME = "parcel_size"
LABELS = {"0": "SMALL", "1": "LARGE"}
PARCELS = [[1.0, 2.0, 3.0], [8.0, 9.0, 1.0]]
SIZES = ["SMALL", "LARGE"]


# A model and its deployment -------------------------------------------------------------------------------------------


def _log(log: Callable[..., Any], folder: Path, golden: list[str] = SIZES, **options: Any) -> Any:
    """Log or save a model of three lengths, with labels and golden answers."""
    import torch
    from mlflow.models import infer_signature

    class Size(torch.nn.Module):
        def forward(self, lengths: torch.Tensor) -> torch.Tensor:
            return (lengths.sum(dim=1) > 10).long()

    files = {
        "index_to_name.json": LABELS,
        "golden.json": {"request": {"inputs": PARCELS}, "response": {"predictions": golden}},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), "utf-8")
    example = torch.tensor(PARCELS)
    return log(
        Size(),
        signature=infer_signature(example.numpy(), Size()(example).numpy()),
        input_example=example.numpy(),
        extra_files=[str(folder / name) for name in files],
        pip_requirements=["torch"],
        **options,
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model in a folder of this machine."""
    import mlflow.pytorch

    folder = tmp_path_factory.mktemp("saved")
    _log(mlflow.pytorch.save_model, folder, path=str(folder / "model"))
    return folder / "model"


class Plugin:
    """`mlflow deployments` as a person types it, for this stack."""

    def __init__(self, stack: Stack) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AWS_"))}
        self.env = {**clean, "MLFLOW_TRACKING_URI": stack.mlflow_url, "SIGNET_URL": stack.predictions_url}

    def __call__(self, command: str, *args: str, target: str = "torchserve", **env: str) -> CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).with_name("mlflow"), "deployments", command, "-t", target, *args],
            env=self.env | env,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture(scope="module")
def mlflow_deployments(stack: Stack) -> Plugin:
    return Plugin(stack)


@pytest.fixture(scope="module")
def created(mlflow_deployments: Plugin, saved: Path, stack: Stack) -> Iterator[CompletedProcess[str]]:
    """How the command line deployed the folder; deleted when these tests are done."""
    from mlflow import MlflowClient

    yield mlflow_deployments("create", "--name", NAME, "-m", str(saved), "-C", "batch_size=8", "-C", "workers=2")
    MlflowClient(stack.mlflow_url).delete_registered_model(NAME)


@pytest.fixture
def plugin(
    created: CompletedProcess[str], registry: MlflowClient, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> BaseDeploymentClient:
    """The Python API, of a stack where the model is deployed."""
    from mlflow.deployments import get_deploy_client

    del registry  # it has set the tracking server
    assert created.returncode == 0, created.stderr
    monkeypatch.setenv("SIGNET_URL", stack.predictions_url)
    client = get_deploy_client("torchserve")
    assert client is not None
    return client


@pytest.fixture
def answers(stack: Stack) -> Callable[[], tuple[Any, str | None]]:
    """Ask for two sizes by HTTP: the answer, and the version that made it."""

    def ask() -> tuple[Any, str | None]:
        url = f"{stack.predictions_url}/predictions/{NAME}"
        answer = requests.post(url, json={"inputs": PARCELS}, timeout=10)
        return answer.json(), answer.headers.get("X-Model-Version")

    return ask


def _line(done: CompletedProcess[str]) -> str:
    """The one line of an error on the command line."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert done.stderr.endswith(f"{line}\n")
    return line.removeprefix("Error: ")


# Creating, looking, asking --------------------------------------------------------------------------------------------


def test_create(created: CompletedProcess[str], registry: MlflowClient, answers: Callable[[], Any]) -> None:
    """A folder becomes version 1 with all its files, its config stands in the tags, and it's served on return."""
    assert created.returncode == 0, created.stderr
    assert created.stdout.strip() == f"pytorch deployment {NAME} is created"
    told = [line for line in created.stderr.splitlines() if line.startswith(NAME)]
    assert told[0].endswith("is pending: its deployment is asked for")
    assert f"{NAME} version 1 is ready: " in told[-1]
    assert "%|" not in created.stderr, "no bars in a log"
    assert answers() == ({"predictions": SIZES}, "1")
    version = registry.get_model_version_by_alias(NAME, ALIAS)
    assert (
        version.tags.items() >= {"serving.batch_size": "8", "serving.workers": "2", "serving.status": "ready"}.items()
    )


def test_list_and_get(mlflow_deployments: Plugin, plugin: BaseDeploymentClient) -> None:
    """Both deployments are listed, and one is told with version, status, reason and config."""
    iris, parcels = plugin.list_deployments()
    assert (iris["name"], iris["status"]) == (MODEL, "ready")
    assert parcels == plugin.get_deployment(NAME)
    assert (parcels["version"], parcels["status"]) == ("1", "ready")
    assert parcels["config"] == {"batch_size": "8", "workers": "2"}
    assert list(parcels["replicas"].values()) == ["ready"]
    printed = mlflow_deployments("get", "--name", NAME)
    assert printed.stdout.strip() == "\n".join(f"{key}: {value}" for key, value in parcels.items())


@pytest.mark.parametrize("kind", ["array", "tensor", "list", "dict of a format", "text"])
def test_predict(plugin: BaseDeploymentClient, kind: str) -> None:
    """Whatever holds the rows, they reach the model, and the answer is MLflow's object."""
    import torch

    inputs = {
        "array": torch.tensor(PARCELS).numpy(),
        "tensor": torch.tensor(PARCELS, requires_grad=True),
        "list": PARCELS,
        "dict of a format": {"instances": PARCELS},
        "text": json.dumps({"inputs": PARCELS}),
    }[kind]
    answer = plugin.predict(NAME, inputs)
    assert answer == {"predictions": SIZES}
    assert list(answer.get_predictions()[0]) == SIZES


def test_predict_columns(plugin: BaseDeploymentClient) -> None:
    """A DataFrame and a dict of columns are asked by name; whole numbers of a float column stay floats."""
    import pandas as pd

    columns = ["petal width (cm)", "petal length (cm)", "sepal width (cm)", "sepal length (cm)"]
    frame = pd.DataFrame([[0.2, 1.0, 3.0, 5.0]], columns=columns)
    assert plugin.predict(MODEL, frame) == {"predictions": ["SETOSA"]}
    assert plugin.predict(MODEL, {name: frame[name] for name in columns}) == {"predictions": ["SETOSA"]}
    assert plugin.predict(MODEL, (SAMPLES / "sample.json").read_text("utf-8")) == {"predictions": "SETOSA"}


@pytest.mark.usefixtures("created")
def test_predict_from_a_file(mlflow_deployments: Plugin, stack: Stack, tmp_path: Path) -> None:
    """The file goes out as it was written: pandas, which reads it first, would make whole numbers integers.

    The address in the target wins over SIGNET_URL.
    """
    rows, output = tmp_path / "rows.json", tmp_path / "output.json"
    widths = {"sepal length (cm)": 5.0, "sepal width (cm)": 3.0, "petal length (cm)": 1.0, "petal width (cm)": 0.0}
    rows.write_text(json.dumps([widths, widths]), "utf-8")
    done = mlflow_deployments(
        "predict",
        *("--name", MODEL, "--input-path", str(rows), "--output-path", str(output)),
        target=f"torchserve:/{stack.predictions_url}",
        SIGNET_URL="http://127.0.0.1:1",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(output.read_text("utf-8")) == {"predictions": ["SETOSA", "SETOSA"]}


def test_predict_refused(mlflow_deployments: Plugin, plugin: BaseDeploymentClient) -> None:
    """A refusal is MLflow's own exception with the server's message: one line on the command line."""
    with pytest.raises(MlflowException, match=r"^Model is missing inputs \['sepal length \(cm\)'") as caught:
        plugin.predict(MODEL, (SAMPLES / "sig_invalid_column_name.json").read_text("utf-8"))
    assert caught.value.error_code == "BAD_REQUEST"
    done = mlflow_deployments("predict", "--name", MODEL, "--input-path", str(SAMPLES / "sig_invalid_data_type.json"))
    assert _line(done).startswith("BAD_REQUEST: Incompatible input types for column sepal length (cm).")


# Updating -------------------------------------------------------------------------------------------------------------


def test_update(
    plugin: BaseDeploymentClient, registry: MlflowClient, answers: Callable[[], Any], tmp_path: Path
) -> None:
    """A run's model becomes the next version; config alone makes one more."""
    import mlflow

    with mlflow.start_run() as run:
        _log(mlflow.pytorch.log_model, tmp_path, name="model")
    version = plugin.update_deployment(NAME, f"runs:/{run.info.run_id}/model")["version"]
    assert answers() == ({"predictions": SIZES}, version)
    assert registry.get_model_version(NAME, version).run_id == run.info.run_id

    configured = plugin.update_deployment(NAME, config={"max_batch_delay": 3})["version"]
    assert int(configured) == int(version) + 1
    assert answers() == ({"predictions": SIZES}, configured)
    assert plugin.get_deployment(NAME)["config"] == {"max_batch_delay": "3"}


def test_update_at_once(
    mlflow_deployments: Plugin, plugin: BaseDeploymentClient, registry: MlflowClient, answers: Callable[[], Any]
) -> None:
    """With wait=false the alias has moved on return, and what an earlier deployment left on the version is gone."""
    registry.set_model_version_tag(NAME, "1", "serving.status", "refused")
    done = mlflow_deployments("update", "--name", NAME, "-m", f"models:/{NAME}/1", "-C", "wait=false")
    assert done.returncode == 0, done.stderr
    deployment = plugin.get_deployment(NAME)
    assert deployment["version"] == "1"
    assert deployment["status"] in {"pending", "ready"}
    until("it is served", lambda: answers()[1] == "1", timeout_s=20)
    until("it says so", lambda: plugin.get_deployment(NAME)["status"] == "ready", timeout_s=10)


@pytest.fixture
def bare(saved: Path, tmp_path: Path) -> Path:
    """The model without its signature."""
    import yaml

    folder = tmp_path / "bare"
    shutil.copytree(saved, folder)
    document = yaml.safe_load((folder / "MLmodel").read_text("utf-8"))
    del document["signature"]
    (folder / "MLmodel").write_text(yaml.safe_dump(document), "utf-8")
    return folder


def test_refused(
    mlflow_deployments: Plugin, plugin: BaseDeploymentClient, answers: Callable[[], Any], bare: Path
) -> None:
    """A model without a signature is refused: one line says why, and the alias is where it was."""
    live = plugin.get_deployment(NAME)
    line = _line(mlflow_deployments("update", "--name", NAME, "-m", str(bare)))
    assert line.startswith(f"BAD_REQUEST: {NAME} version ")
    assert " is refused: The model has no signature" in line
    assert line.endswith(f"Version {live['version']} goes on, and carries the alias 'champion' again.")
    until("it is said to serve as before", lambda: plugin.get_deployment(NAME) == live, timeout_s=10)
    assert answers() == ({"predictions": SIZES}, live["version"])


@pytest.mark.usefixtures("made_elsewhere")
def test_failed(plugin: BaseDeploymentClient, registry: MlflowClient, tmp_path: Path) -> None:
    """A model that gives other answers than its golden ones fails, and a new name is no deployment then."""
    import mlflow

    logged = _log(mlflow.pytorch.log_model, tmp_path, golden=SIZES[::-1], name="model")
    with pytest.raises(MlflowException, match=r"^other version 1 is failed: .*other is not deployed\.$") as caught:
        plugin.create_deployment("other", logged.model_uri)
    assert caught.value.error_code == "INTERNAL_ERROR"
    assert registry.get_registered_model("other").aliases == {}
    assert registry.get_model_version("other", "1").tags["serving.status"] == "failed"


@pytest.fixture
def made_elsewhere(registry: MlflowClient) -> Iterator[None]:
    """Other models than Iris and the one of this module are deleted after the test."""
    yield
    for model in registry.search_registered_models():
        if model.name not in {MODEL, NAME}:
            registry.delete_registered_model(model.name)


# What cannot work -----------------------------------------------------------------------------------------------------

_BAD, _UNKNOWN = "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"
_CANNOT: dict[str, tuple[Callable[[BaseDeploymentClient], object], str, str]] = {
    "create what exists": (
        lambda plugin: plugin.create_deployment(NAME, f"models:/{MODEL}/1"),
        "RESOURCE_ALREADY_EXISTS",
        f"Deployment '{NAME}' exists: its version ",
    ),
    "create with a name that can't be served": (
        lambda plugin: plugin.create_deployment("a..b", f"models:/{MODEL}/1"),
        _BAD,
        "Deployment 'a..b' can't be served by TorchServe. Expected letters, digits, '_', '-' and '.'",
    ),
    "create with a name that is too long": (
        lambda plugin: plugin.create_deployment("n" * 250, f"models:/{MODEL}/1"),
        _BAD,
        "Deployment 'nnnnnnnnnnnnnnnnnnnn…' has a name of 250 characters. Expected at most 246.",
    ),
    "create with an unknown config": (
        lambda plugin: plugin.create_deployment("new", f"models:/{MODEL}/1", config={"EXPORT_PATH": "x"}),
        _BAD,
        "Config 'EXPORT_PATH' is unknown. Expected batch_size, max_batch_delay, workers, timeout_s, allow_breaking,",
    ),
    "update what does not": (
        lambda plugin: plugin.update_deployment("no_such", f"models:/{MODEL}/1"),
        _UNKNOWN,
        "Deployment 'no_such' does not exist. Expected a registered model whose alias 'champion' is set.",
    ),
    "update nothing": (
        lambda plugin: plugin.update_deployment(NAME, config={"wait": False}),
        _BAD,
        f"The update of '{NAME}' changes nothing.",
    ),
    "another flavor": (
        lambda plugin: plugin.update_deployment(NAME, f"models:/{MODEL}/1", flavor="sklearn"),
        _BAD,
        "Flavor 'sklearn' can't be served. Expected 'pytorch'.",
    ),
    "no such version": (
        lambda plugin: plugin.update_deployment(NAME, f"models:/{NAME}/99"),
        _UNKNOWN,
        "Model Version (name=",
    ),
    "no such alias": (
        lambda plugin: plugin.update_deployment(NAME, f"models:/{NAME}@no_such"),
        _BAD,
        "Registered model alias no_such not found.",
    ),
    "no such run": (
        lambda plugin: plugin.update_deployment(NAME, "runs:/no_such/model"),
        _UNKNOWN,
        "Run with id=no_such not found",
    ),
    "no such folder": (
        lambda plugin: plugin.update_deployment(NAME, "nowhere"),
        _BAD,
        "Model 'nowhere' does not exist. Expected a folder, or a URI.",
    ),
    "a folder without a model": (
        lambda plugin: plugin.update_deployment(NAME, str(SAMPLES)),
        _BAD,
        f"Model '{SAMPLES}' has no file MLmodel.",
    ),
    "an address of an unknown kind": (
        lambda plugin: plugin.update_deployment(NAME, "gopher://host/model"),
        _BAD,
        "Model 'gopher://host/model' can't be fetched: ",
    ),
    "get what does not exist": (
        lambda plugin: plugin.get_deployment("no_such"),
        _UNKNOWN,
        "Deployment 'no_such' does not exist.",
    ),
    "predict by what does not": (
        lambda plugin: plugin.predict("no_such", PARCELS),
        _UNKNOWN,
        "Deployment 'no_such' is not served at http://",
    ),
    "an endpoint": (
        lambda plugin: plugin.get_deployment(NAME, endpoint="e"),
        _BAD,
        "Endpoint 'e' can't be addressed: there are deployments only.",
    ),
    "explain": (
        lambda plugin: plugin.explain(NAME, PARCELS),
        "NOT_IMPLEMENTED",
        f"Deployment '{NAME}' can't explain its predictions: it is an exported program",
    ),
}


@pytest.mark.parametrize("what", _CANNOT)
def test_errors(plugin: BaseDeploymentClient, what: str) -> None:
    """Each error has MLflow's code and names the thing; on the command line click shows it; nothing is changed."""
    act, code, begins = _CANNOT[what]
    before = plugin.list_deployments()
    with pytest.raises(MlflowException) as caught:
        act(plugin)
    assert (caught.value.error_code, str(caught.value)[: len(begins)]) == (code, begins)
    assert isinstance(caught.value, ClickException)
    assert caught.value.format_message().startswith(f"{code}: {begins}")
    assert plugin.list_deployments() == before


def test_mlflow_is_down(mlflow_deployments: Plugin) -> None:
    """A registry that is down is said within seconds, in one line with its address and its setting."""
    url = f"http://127.0.0.1:{free_port()}"
    assert _line(mlflow_deployments("list", MLFLOW_TRACKING_URI=url)) == (
        f"TEMPORARILY_UNAVAILABLE: No answer from {url}: Connection refused."
        " Expected the MLflow server there (MLFLOW_TRACKING_URI)."
    )


# signet deploy, S3, run-local, delete ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("made_elsewhere")
def test_signet_deploy(stack: Stack) -> None:
    """The seed's two scripts, as they live on: another name for the same model, and its prediction."""
    name = "iris_classification_1"
    options = ("--deployment_name", name, "--serialized_file_path")
    done = stack.client("deploy", *options, f"models:/{MODEL}@{ALIAS}")
    assert (done.returncode, done.stdout) == (0, f"Deployment {name} created successfully: version 1\n"), done.stderr
    asked = stack.client("predict", "--deployment_name", name, "--input_file_path", "sample.json")
    assert (asked.returncode, asked.stdout) == (0, "Prediction Result SETOSA\n"), asked.stderr

    again = stack.client("deploy", *options, f"models:/{name}/1")
    assert (again.returncode, again.stdout) == (0, f"Deployment {name} updated successfully: version 1\n"), again.stderr
    wrong = stack.client("deploy", *options, f"models:/{name}/9")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    (line,) = [line for line in wrong.stderr.splitlines() if line.startswith("signet: ")]
    assert line.startswith("signet: RESOURCE_DOES_NOT_EXIST: Model Version (name=")


@pytest.mark.usefixtures("made_elsewhere")
def test_s3(
    plugin: BaseDeploymentClient, processes: EmbeddedStack, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model in a bucket is fetched with the caller's own keys."""
    import boto3

    from embedded.datadir import DataDir
    from embedded.services import seaweedfs

    for name, value in seaweedfs.env(DataDir(processes._folder), processes.processes.addresses["s3"]).items():
        monkeypatch.setenv(name, value)
    store = boto3.session.Session().client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
    for path in filter(Path.is_file, saved.rglob("*")):
        store.upload_file(str(path), "mlflow", f"elsewhere/{path.relative_to(saved)}")
    assert plugin.create_deployment("from_s3", "s3://mlflow/elsewhere")["version"] == "1"
    assert plugin.predict("from_s3", PARCELS) == {"predictions": SIZES}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_local(mlflow_deployments: Plugin, saved: Path, tmp_path: Path, number: signal.Signals) -> None:
    """One model is served on this machine without any registry until the command is ended; nothing is left.

    It is started as a shell's `&` does, with SIGINT ignored.
    """
    url = f"http://127.0.0.1:{free_port()}"
    env = {**mlflow_deployments.env, "SIGNET_URL": url, "MLFLOW_TRACKING_URI": "", "TMPDIR": str(tmp_path)}
    command = [Path(sys.executable).with_name("mlflow"), "deployments", "run-local", "-t", "torchserve"]
    log = tmp_path.with_name("run-local.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", "trap '' INT; exec \"$@\"", "bash", *command, "--name", NAME, "-m", str(saved)],
            env=env,
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
        try:
            answer = until("it answers", lambda: _answer(f"{url}/predictions/{NAME}"), timeout_s=60)
        finally:
            process.send_signal(number)
            code = process.wait(60)
    assert (answer, code) == ({"predictions": SIZES}, 0), log.read_text("utf-8")
    assert not list(tmp_path.iterdir())
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/ping", timeout=5)


def _answer(address: str) -> Any:
    answer = requests.post(address, json={"inputs": PARCELS}, timeout=10)
    return answer.json() if answer.ok else None


@pytest.mark.usefixtures("made_elsewhere")
def test_delete(plugin: BaseDeploymentClient, registry: MlflowClient) -> None:
    """On return the deployment is gone; its version stays; a second time changes nothing."""
    assert plugin.create_deployment("short_lived", f"models:/{NAME}@{ALIAS}")["version"] == "1"
    plugin.delete_deployment("short_lived")
    with pytest.raises(MlflowException, match="is not served"):
        plugin.predict("short_lived", PARCELS)
    assert [deployment["name"] for deployment in plugin.list_deployments()] == [MODEL, NAME]
    version = lambda: registry.get_model_version("short_lived", "1")  # noqa: E731 -- asked again and again
    until("it says that it serves no more", lambda: version().tags["serving.status"] == "retired", timeout_s=10)
    plugin.delete_deployment("short_lived")
