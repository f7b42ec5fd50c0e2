"""What the trainer asks of the MLflow server: whether it answers, the champion, and a run to write to."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT
from requests import RequestException

from signet_trainer import EXPERIMENT, MODEL
from signet_trainer.errors import ExperimentDeleted, MlflowLost, MlflowUnreachable, TrainingStopped
from signet_trainer.settings import Environment, Settings

# With MLflow's own defaults a person waits for minutes. Before the training, these end soon; during it, they are long
# enough for a restart of the server.
PROBE_RETRIES, PROBE_TIMEOUT_S = 1, 4
RETRIES, TIMEOUT_S = 3, 30


def connect(uri: str) -> MlflowClient:
    """A client of a server that answers. Raises MlflowUnreachable."""
    mlflow.set_tracking_uri(uri)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a bar for each file of some kB
    try:
        client = MlflowClient()
        with patience(PROBE_RETRIES, PROBE_TIMEOUT_S):
            client.search_experiments(max_results=1)
    except (ImportError, MlflowException, RequestException) as error:  # ImportError: a database without its driver
        raise MlflowUnreachable(uri, error) from error
    return client


@contextmanager
def patience(retries: int, timeout_s: int) -> Iterator[None]:
    """How long MLflow's client waits for its server; what the user has set wins."""
    chosen = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(retries), "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout_s)}
    ours = {name: value for name, value in chosen.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]


def champion_version(client: MlflowClient, alias: str) -> str | None:
    """The number of the version that carries the alias; None where no model or no alias exists."""
    try:
        aliases: dict[str, str] = client.get_registered_model(MODEL).aliases
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    version = aliases.get(alias)
    return None if version is None else str(version)


@contextmanager
def open_run(client: MlflowClient, environment: Environment, settings: Settings) -> Iterator[Run]:
    """The active run, with parameters and git commit; it ends FINISHED, FAILED or KILLED as the block does.

    Under `mlflow run` the run exists already, in an experiment of the user's choice, with the parameters as the user
    spelled them: then only missing parameters are added.
    """
    try:
        with patience(RETRIES, TIMEOUT_S):
            run = _start(client, environment)
            known = run.data.params
            params = [Param(name, str(value)) for name, value in asdict(settings).items() if name not in known]
            client.log_batch(run.info.run_id, params=params)
            yield run
            mlflow.end_run("FINISHED")
    except (KeyboardInterrupt, TrainingStopped):
        _end("KILLED")
        raise
    except BaseException as error:
        _end("FAILED")
        if isinstance(error, MlflowException | RequestException):
            raise MlflowLost(environment.tracking_uri, error) from error
        raise


def _start(client: MlflowClient, environment: Environment) -> Run:
    tags = {}
    if commit := environment.git_commit or _git_commit(Path(__file__).parent):
        tags[MLFLOW_GIT_COMMIT] = commit
    if environment.run_id:
        return mlflow.start_run(run_id=environment.run_id, tags=tags)
    experiment_id = environment.experiment_id or _experiment_id(client, environment.experiment_name or EXPERIMENT)
    experiment = client.get_experiment(experiment_id)
    if experiment.lifecycle_stage == LifecycleStage.DELETED:
        raise ExperimentDeleted(experiment.name, experiment_id)
    return mlflow.start_run(experiment_id=experiment_id, tags=tags)


def _experiment_id(client: MlflowClient, name: str) -> str:
    """Make the experiment where it is missing; another trainer may make it at the same moment."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    return str(experiment.experiment_id)


def _end(status: str) -> None:
    """Tell the server how the run ended, if it answers: it may be gone, and that may be why the run ends."""
    try:
        with patience(0, PROBE_TIMEOUT_S):
            mlflow.end_run(status)
    except (MlflowException, RequestException):
        return


def _git_commit(folder: Path) -> str | None:
    """The commit of the checkout that this file lies in; None in an image or without git."""
    git = shutil.which("git")
    if git is None:
        return None
    answer = subprocess.run([git, "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S603 -- every word of it is ours
    return answer.stdout.strip() or None
