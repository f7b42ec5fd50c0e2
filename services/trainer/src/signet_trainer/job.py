"""A whole training, from the rows to the gate. This module loads PyTorch, Lightning and scikit-learn, which is slow."""

from functools import partial
from pathlib import Path

from mlflow import MlflowClient

from signet_trainer import MODEL, artifact, data, registry, report, tracking, training
from signet_trainer.epoch_metrics import EpochMetrics
from signet_trainer.network import Labeller
from signet_trainer.settings import Environment, Settings
from signet_trainer.terminal import say


def assist(settings: Settings) -> None:
    """Train as a helper in a distributed training. Only the first process logs what comes of it."""
    training.train(training.make_trainer(settings), settings, data.load())


def run(client: MlflowClient, settings: Settings, environment: Environment, scratch: Path) -> None:
    """One run, one model, one version."""
    epoch_metrics = EpochMetrics()
    trainer = training.make_trainer(settings, epoch_metrics)
    iris = data.load()
    with tracking.open_run(client, environment, settings) as run:
        epoch_metrics.send_to(partial(client.log_batch, run.info.run_id))
        say(f"training {settings.max_epochs} epochs on {trainer.world_size} x {training.device_name(trainer)}")
        labeller = Labeller(training.train(trainer, settings, iris)).eval()
        epoch_metrics.flush()

        classes = training.classify(labeller, iris.test)
        accuracy = training.accuracy(classes, iris.test.labels)
        say(f"test accuracy {accuracy:.3f} on {len(iris.test.labels)} rows; logging the model")
        report.log_pictures(epoch_metrics.curves, iris, classes, scratch)
        model = artifact.log(labeller, iris, scratch)
        report.log_datasets(iris, model.model_id, accuracy)
        version = registry.register(model.model_uri, accuracy, scratch)
        promotion = registry.promote(version, environment.alias, accuracy, settings.threshold, iris.test, scratch)
    outcome = "is now" if promotion.promoted else "does not become"
    say(f"{MODEL} version {version} {outcome} {environment.alias}: {promotion.reason}")
