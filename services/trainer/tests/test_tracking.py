"""Runs and connections of `signet_trainer.tracking`."""

import time

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from signet_trainer import tracking
from signet_trainer.errors import ExperimentDeleted, MlflowLost, MlflowUnreachable, TrainingStopped
from signet_trainer.settings import Environment, Settings

from testing.ports import free_port


def test_a_closed_port_is_reported_soon(tracking_uri: str) -> None:
    """Within ten seconds, in one line that names the address."""
    del tracking_uri
    port = free_port()
    begin = time.monotonic()
    with pytest.raises(MlflowUnreachable, match=rf"^MLflow at http://127.0.0.1:{port} cannot be used: .*refused"):
        tracking.connect(f"http://127.0.0.1:{port}")
    assert time.monotonic() - begin < 10


def test_the_run_has_parameters_and_commit(tracking_uri: str) -> None:
    """GIT_COMMIT wins where it is given; the experiment is made."""
    client = tracking.connect(tracking_uri)
    with tracking.open_run(client, Environment(tracking_uri, git_commit="abc123"), Settings(seed=5)) as run:
        pass
    stored = client.get_run(run.info.run_id)
    assert stored.info.status == "FINISHED"
    assert stored.data.params["seed"] == "5"
    assert stored.data.tags["mlflow.source.git.commit"] == "abc123"
    assert client.get_experiment(stored.info.experiment_id).name == "iris_classification"


def test_a_run_made_by_mlflow_run_is_used(tracking_uri: str) -> None:
    """In its own experiment; a parameter that is there as the user spelled it stays so."""
    client = tracking.connect(tracking_uri)
    made = client.create_run("0")
    client.log_param(made.info.run_id, "lr", "2e-2")
    with tracking.open_run(client, Environment(tracking_uri, run_id=made.info.run_id), Settings()) as run:
        assert run.info.run_id == made.info.run_id
    params = client.get_run(made.info.run_id).data.params
    assert (params["lr"], params["max_epochs"]) == ("2e-2", "50")


@pytest.mark.parametrize(
    ("error", "raised", "status"),
    [
        (ValueError("x"), ValueError, "FAILED"),
        (MlflowException("gone"), MlflowLost, "FAILED"),
        (TrainingStopped(15), TrainingStopped, "KILLED"),
        (KeyboardInterrupt(), KeyboardInterrupt, "KILLED"),
    ],
)
def test_the_run_ends_as_the_training_does(
    tracking_uri: str, error: BaseException, raised: type[BaseException], status: str
) -> None:
    """No run stays RUNNING behind a trainer that has gone."""
    client: MlflowClient = tracking.connect(tracking_uri)
    with pytest.raises(raised), tracking.open_run(client, Environment(tracking_uri), Settings()) as run:
        raise error
    assert client.get_run(run.info.run_id).info.status == status


def test_no_champion_without_model_or_alias(tracking_uri: str) -> None:
    """Neither an empty registry nor a model without the alias is an error."""
    client = tracking.connect(tracking_uri)
    assert tracking.champion_version(client, "champion") is None
    client.create_registered_model("iris_classification")
    assert tracking.champion_version(client, "champion") is None


def test_a_deleted_experiment_is_named(tracking_uri: str) -> None:
    """By its name or by its number: the message says how it is restored."""
    client = tracking.connect(tracking_uri)
    number = client.create_experiment("gone")
    client.delete_experiment(number)
    for environment in (
        Environment(tracking_uri, experiment_name="gone"),
        Environment(tracking_uri, experiment_id=number),
    ):
        with (
            pytest.raises(ExperimentDeleted, match=rf"'gone' is deleted.*restore --experiment-id {number}"),
            tracking.open_run(client, environment, Settings()),
        ):
            pass


def test_a_proxy_that_refuses_is_named(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What refuses the connection is the proxy, not MLflow."""
    del tracking_uri
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(MlflowUnreachable, match=r"the proxy of HTTP_PROXY or HTTPS_PROXY cannot be used"):
        tracking.connect("http://mlflow.example.org")
