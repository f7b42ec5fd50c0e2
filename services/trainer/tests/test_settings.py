"""What `signet_trainer.settings` accepts, and what it says about the rest."""

import re

import pytest
from signet_trainer.errors import BadOptions
from signet_trainer.settings import Environment, Settings, read_options


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], Settings()),
        (["--max_epochs", "7"], Settings(max_epochs=7)),
        (["--max-epochs=7"], Settings(max_epochs=7)),
        (["--trainer.max_epochs=7"], Settings(max_epochs=7)),
        (["--trainer.max_epochs", "7"], Settings(max_epochs=7)),
        (["--model.lr=1e-3", "--data.batch_size", "8"], Settings(lr=0.001, batch_size=8)),
        (
            ["--devices", "2", "--strategy", "ddp", "--accelerator", "cpu"],
            Settings(devices=2, strategy="ddp", accelerator="cpu"),
        ),
        (["--devices", "auto"], Settings(devices="auto")),
        (["--num_nodes", "2", "--seed", "0", "--threshold", "1"], Settings(num_nodes=2, seed=0, threshold=1.0)),
        (["--skip_if_champion"], Settings(skip_if_champion=True)),
        (["--skip_if_champion=false", "--seed", "3"], Settings(seed=3)),
    ],
)
def test_accepts(argv: list[str], expected: Settings) -> None:
    """Plain, dashed and Lightning's dotted spelling mean the same."""
    assert read_options(argv) == expected


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--max_epochs", "abc"], "--max_epochs has value 'abc'. Expected an integer above 0."),
        (["--max_epochs", "-3"], "--max_epochs has value '-3'. Expected an integer above 0."),
        (["--trainer.max_epochs=2.5"], "--max_epochs has value '2.5'. Expected an integer above 0."),
        (["--devices", "0"], "--devices has value '0'. Expected an integer above 0 or auto."),
        (["--batch_size", "0"], "--batch_size has value '0'. Expected an integer above 0."),
        (["--lr", "nan"], "--lr has value 'nan'. Expected a finite number above 0."),
        (["--lr", "inf"], "--lr has value 'inf'. Expected a finite number above 0."),
        (["--seed", "-1"], "--seed has value '-1'. Expected an integer from 0 to 4294967295."),
        (["--threshold", "1.1"], "--threshold has value '1.1'. Expected a number from 0 to 1."),
        (["--accelerator", "x"], "--accelerator has value 'x'. Expected auto or cpu or cuda or gpu or mps or tpu."),
        (
            ["--strategy", "ddp_spawn"],
            "--strategy has value 'ddp_spawn'. Expected one that starts whole processes, such as ddp.",
        ),
        (["--skip_if_champion=maybe"], "--skip_if_champion has value 'maybe'. Expected true or false."),
        (["--epochs", "3"], "unrecognized arguments: --epochs 3. `signet-train --help` lists the options."),
        (["--max_epochs"], "argument --max_epochs: expected one argument. `signet-train --help` lists the options."),
    ],
)
def test_refuses(argv: list[str], message: str) -> None:
    """One line names the option, the value and what was expected."""
    with pytest.raises(BadOptions) as caught:
        read_options(argv)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


def test_help_comes_from_the_docstrings(capsys: pytest.CaptureFixture[str]) -> None:
    """--help explains each option in the words of Settings."""
    with pytest.raises(SystemExit) as caught:
        read_options(["--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Passes over the training rows." in text
    assert "The least test accuracy with which a new version may become the champion." in text


def test_tracking_uri_is_needed() -> None:
    """Without an address MLflow would start a store in the working directory, which nobody would find."""
    with pytest.raises(BadOptions, match="MLFLOW_TRACKING_URI is not set"):
        Environment.from_environment({})


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"MLFLOW_TRACKING_URI": "localhost:5000"},
            "has value 'localhost:5000'. Expected a scheme, too, such as http:",
        ),
        (
            {"MLFLOW_TRACKING_URI": "http://a", "MLFLOW_REGISTRY_URI": "http://me:secret@b"},
            "MLFLOW_REGISTRY_URI has value 'http://b'. Expected it unset",
        ),
    ],
)
def test_addresses_that_are_not_obeyed_are_named(environ: dict[str, str], message: str) -> None:
    """An address without a scheme, and a registry other than the tracking server."""
    with pytest.raises(BadOptions, match=re.escape(message)):
        Environment.from_environment(environ)


def test_no_password_stays_in_the_address() -> None:
    """What is shown has none, and MLflow finds it where it looks for it."""
    environment = Environment.from_environment({"MLFLOW_TRACKING_URI": "http://me:secret@host:5000"})
    assert environment.tracking_uri == "http://host:5000"
    assert environment.credentials["MLFLOW_TRACKING_PASSWORD"] == "secret"  # noqa: S105 -- a test's
    assert "secret" not in repr(environment)


@pytest.mark.parametrize(
    ("environ", "main"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1"}, False),
        ({"RANK": "3"}, False),
    ],
)
def test_ranks(environ: dict[str, str], main: bool) -> None:
    """Only the first process of a distributed training talks to MLflow."""
    assert Environment.from_environment({"MLFLOW_TRACKING_URI": "http://x", **environ}).main_process is main
