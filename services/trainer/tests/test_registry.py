"""Logged models, versions and the alias: `signet_trainer.artifact` and `signet_trainer.registry` on a real store."""

import json
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from mlflow import MlflowClient
from pandas import DataFrame
from signet_trainer import MODEL, artifact, registry, tracking, training
from signet_trainer.data import Iris
from signet_trainer.network import IrisNet, Labeller
from signet_trainer.settings import Settings

ALIAS = "prod"


@pytest.fixture
def logged(tracking_uri: str, iris: Iris, tmp_path: Path) -> str:
    """The URI of a model that ten epochs have trained."""
    del tracking_uri
    settings = Settings(max_epochs=20)
    net = training.train(training.make_trainer(settings), settings, iris)
    with mlflow.start_run():
        return str(artifact.log(Labeller(net).eval(), iris, tmp_path).model_uri)


def test_the_model_is_what_serving_expects(logged: str, iris: Iris, tmp_path: Path) -> None:
    """pt2 without pickle, the columns' signature, the labels, and golden answers that the loaded model gives."""
    folder = Path(mlflow.artifacts.download_artifacts(logged, dst_path=str(tmp_path / "model")))
    names = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert {"data/model.pt2", "extra_files/index_to_name.json", "extra_files/golden.json"} <= names
    assert not [name for name in names if name.endswith((".pth", ".pkl"))]

    model = mlflow.pyfunc.load_model(str(folder))
    assert [(column.name, column.type.name) for column in model.metadata.signature.inputs] == [
        (name, "double") for name in iris.test.frame.columns
    ]
    assert [column.type.name for column in model.metadata.signature.outputs] == ["long"]

    labels = json.loads((folder / "extra_files/index_to_name.json").read_text())
    assert labels == {"0": "SETOSA", "1": "VERSICOLOR", "2": "VIRGINICA"}
    golden = json.loads((folder / "extra_files/golden.json").read_text())
    frame = DataFrame(**golden["request"]["dataframe_split"])
    predicted = [labels[str(number)] for number in model.predict(frame)[0]]
    assert {"predictions": predicted} == golden["response"]
    assert set(predicted) == set(labels.values())


def test_a_model_is_logged_without_complaint_where_there_is_a_gpu(
    tracking_uri: str, iris: Iris, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The program is of the CPU; MLflow would try it on the GPU, and say at length that it can't be loaded there."""
    del tracking_uri
    monkeypatch.delenv("MLFLOW_DEFAULT_PREDICTION_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with mlflow.start_run():
        artifact.log(Labeller(IrisNet(iris.train.features)).eval(), iris, tmp_path)
    assert "Failed to validate" not in capfd.readouterr().err


def test_the_alias_follows_the_gate(logged: str, iris: Iris, tmp_path: Path) -> None:
    """First version in, an equal one in, a worse one and one below the threshold out; each says why."""
    client = MlflowClient()

    def enter(accuracy: float, threshold: float = 0.9) -> tuple[bool, str | None]:
        version = registry.register(logged, accuracy, tmp_path)
        promotion = registry.promote(version, ALIAS, accuracy, threshold, iris.test, tmp_path)
        tags = client.get_model_version(MODEL, version).tags
        assert tags["gate.reason"] == promotion.reason
        (tmp_path / f"fetched-{version}").mkdir()
        fetched = mlflow.artifacts.download_artifacts(
            f"models:/{MODEL}/{version}", dst_path=str(tmp_path / f"fetched-{version}")
        )
        assert tags["serving.digest"] == registry.digest(Path(fetched)), "who serves it finds the files unchanged"
        return promotion.promoted, tracking.champion_version(client, ALIAS)

    measured = registry.measure(logged, iris.test, tmp_path)
    assert enter(0.5) == (False, None)
    assert enter(measured) == (True, "2")
    assert enter(measured) == (True, "3")
    assert enter(measured - 0.01, threshold=0.1) == (False, "3")


def test_others_may_move_the_alias_all_the_time(
    logged: str, iris: Iris, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that comes too late at every try does not become the champion, and says so."""
    client = MlflowClient()
    rivals = [registry.register(logged, 0.9, tmp_path) for _ in range(2)]
    version = registry.register(logged, 1.0, tmp_path)
    evaluate = registry.measure

    def overtaken(*args: Any) -> float:
        rivals.reverse()
        client.set_registered_model_alias(MODEL, ALIAS, rivals[0])
        return evaluate(*args)

    client.set_registered_model_alias(MODEL, ALIAS, rivals[0])
    monkeypatch.setattr(registry, "measure", overtaken)
    promotion = registry.promote(version, ALIAS, 1.0, 0.9, iris.test, tmp_path)
    assert not promotion.promoted
    assert client.get_model_version(MODEL, version).tags["gate.reason"] == promotion.reason
    assert promotion.reason == "others moved the alias prod during each of 5 tries"
    assert tracking.champion_version(client, ALIAS) in rivals


def test_a_champion_that_cannot_run_is_measured_by_its_tag(
    tracking_uri: str, iris: Iris, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pickled champion is never loaded; without a usable tag it is no obstacle."""
    del tracking_uri
    (tmp_path / "MLmodel").write_text(
        "flavors:\n  pytorch: {model_data: data, pytorch_version: x, code: null}\nmodel_uuid: 0\n"
    )
    (tmp_path / "data").mkdir()
    torch.save(IrisNet(iris.train.features), tmp_path / "data" / "model.pth")
    (tmp_path / "data" / "pickle_module_info.txt").write_text("pickle")
    client = MlflowClient()
    client.create_registered_model(MODEL)
    version = client.create_model_version(MODEL, source=str(tmp_path), tags={"test_acc": "0.91"})
    champion = registry.assess(version, iris.test, tmp_path)
    assert (champion.accuracy, champion.source) == (0.91, "by its tag test_acc, as it cannot be run here")
    assert "pickle" in capsys.readouterr().out.lower()
    untagged = client.create_model_version(MODEL, source=str(tmp_path), tags={"test_acc": "nan"})
    assert registry.assess(untagged, iris.test, tmp_path).accuracy is None
