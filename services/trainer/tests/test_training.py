"""Real trainings by `signet_trainer.training`."""

import pytest
import torch
from signet_trainer import training
from signet_trainer.data import Iris
from signet_trainer.errors import BadOptions
from signet_trainer.network import IrisNet, Labeller
from signet_trainer.settings import Settings


def train(iris: Iris, settings: Settings) -> IrisNet:
    """As the command does it, without MLflow."""
    return training.train(training.make_trainer(settings), settings, iris)


def test_the_same_result_twice(iris: Iris) -> None:
    """The seed decides every weight."""
    first, second, other = (train(iris, Settings(max_epochs=2, seed=seed)).state_dict() for seed in (7, 7, 8))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["layers.0.weight"], other["layers.0.weight"])


@pytest.mark.parametrize("seed", [Settings.seed, 0, 1])
def test_fifty_epochs_reach_the_accuracy(iris: Iris, seed: int) -> None:
    """At least 0.93 on the test rows with the default seed, and not by its luck."""
    net = train(iris, Settings(seed=seed))
    classes = training.classify(Labeller(net), iris.test)
    assert training.accuracy(classes, iris.test.labels) >= 0.93


def test_lightning_refusals_are_one_line() -> None:
    """What only Lightning can decide on is refused in its words."""
    with pytest.raises(BadOptions, match=r"^Lightning refuses .* --strategy foo: You selected an invalid strategy"):
        training.make_trainer(Settings(strategy="foo"))


@pytest.mark.parametrize(("epochs", "lines"), [(1, 1), (25, 9)])
def test_a_log_gets_some_ten_lines(iris: Iris, capsys: pytest.CaptureFixture[str], epochs: int, lines: int) -> None:
    """Without a terminal there is no bar; the last epoch always has its line."""
    settings = Settings(max_epochs=epochs)
    train(iris, settings)
    out = capsys.readouterr().out.splitlines()
    assert len(out) == lines
    assert out[-1].startswith(f"epoch {epochs}/{epochs}  train_loss ")
