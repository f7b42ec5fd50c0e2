"""What the trainer is told: command-line options and environment variables, each declared once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal, Self, get_args, get_type_hints

from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings
from jsonargparse.typing import ClosedUnitInterval, PositiveFloat, PositiveInt, restricted_number_type

from signet_trainer.errors import BadOptions, InvalidSetting
from signet_trainer.mlflow_credentials import credentials_in_files, without_credentials

# torch's and numpy's common range for seeds.
Seed = restricted_number_type("Seed", int, [(">=", 0), ("<=", 2**32 - 1)])

# Lightning's command line groups its options so; they are the same options here.
DOTTED_GROUPS = ("trainer.", "model.", "data.")
# These strategies train in forks of the trainer, whose metrics would never come back to it.
FORKING = ("spawn", "fork", "notebook")
EXPECTED = {
    PositiveInt: "an integer above 0",
    PositiveFloat: "a finite number above 0",
    ClosedUnitInterval: "a number from 0 to 1",
    Seed: "an integer from 0 to 4294967295",
    str: "a word",
    bool: "true or false",
}


@dataclass(frozen=True)
class Settings:
    """Train the Iris classifier, log it to MLflow, register it, and make it the champion if it is good enough."""

    max_epochs: PositiveInt = 50
    """Passes over the training rows."""
    lr: PositiveFloat = 0.05
    """AdamW's learning rate at the start; a cosine takes it down to 0 in the last epoch."""
    batch_size: PositiveInt = 16
    """Training rows per step and process."""
    devices: PositiveInt | Literal["auto"] = 1
    """Processes (CPU) or GPUs per node."""
    strategy: str = "auto"
    """How several devices work together: Lightning's name for it, such as ddp."""
    accelerator: Literal["auto", "cpu", "cuda", "gpu", "mps", "tpu"] = "auto"
    """What to train on; auto takes a GPU where there is one."""
    num_nodes: PositiveInt = 1
    """Machines that take part."""
    seed: Seed = 42  # type: ignore[valid-type]  # jsonargparse makes this type at run time
    """Seeds the first weights and the order of the rows. The split into training, validation and test rows never
    changes, so that no model is ever compared on rows it has seen."""
    threshold: ClosedUnitInterval = 0.9
    """The least test accuracy with which a new version may become the champion."""
    skip_if_champion: bool = False
    """Do nothing, with exit code 0, where a champion exists already."""


@dataclass(frozen=True)
class Environment:
    """What the surroundings say: MLflow's own variables, the alias, Lightning's process ranks, and GIT_COMMIT."""

    tracking_uri: str
    """MLFLOW_TRACKING_URI, without user and password."""
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What signs in at MLflow, from MLFLOW_TRACKING_URI or from files, as MLflow's own variables."""
    alias: str = "champion"
    """SIGNET_ALIAS: the alias that the gate moves."""
    run_id: str | None = None
    """MLFLOW_RUN_ID: the run that `mlflow run` has made for this training."""
    experiment_id: str | None = None
    """MLFLOW_EXPERIMENT_ID."""
    experiment_name: str | None = None
    """MLFLOW_EXPERIMENT_NAME."""
    git_commit: str | None = None
    """GIT_COMMIT, for images, which hold no .git."""
    main_process: bool = True
    """False in the helpers of a distributed training: RANK, LOCAL_RANK, NODE_RANK or SLURM_PROCID above 0."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the variables; an empty one is not set.

        Raise BadOptions where MLFLOW_TRACKING_URI is no address, for a store in the working directory helps nobody, and
        where MLFLOW_REGISTRY_URI names another registry or a file with a password or token cannot be read.
        """
        uri, credentials = without_credentials(environment.get("MLFLOW_TRACKING_URI", ""))
        if not uri:
            raise BadOptions(
                "MLFLOW_TRACKING_URI is not set. Expected the address of MLflow, such as http://127.0.0.1:5000."
            )
        if "://" not in uri:
            raise InvalidSetting("MLFLOW_TRACKING_URI", uri, f"a scheme, too, such as http://{uri}")
        registry, _ = without_credentials(environment.get("MLFLOW_REGISTRY_URI") or uri)
        if registry != uri:
            expected = f"it unset: models are registered where they are logged, at MLFLOW_TRACKING_URI ({uri})"
            raise InvalidSetting("MLFLOW_REGISTRY_URI", registry, expected)
        try:
            in_files = credentials_in_files(environment)
        except OSError as error:
            raise BadOptions(
                f"The file '{error.filename}' with MLflow's password or token cannot be read: {error.strerror}."
            ) from error
        ranks = (environment.get(name) or "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))
        return cls(
            tracking_uri=uri,
            credentials={**in_files, **credentials},
            alias=environment.get("SIGNET_ALIAS") or cls.alias,
            run_id=environment.get("MLFLOW_RUN_ID") or None,
            experiment_id=environment.get("MLFLOW_EXPERIMENT_ID") or None,
            experiment_name=environment.get("MLFLOW_EXPERIMENT_NAME") or None,
            git_commit=environment.get("GIT_COMMIT") or None,
            main_process=all(rank == "0" for rank in ranks),
        )


def read_options(argv: Sequence[str]) -> Settings:
    """Parse the command line; a bad one raises BadOptions with one line that names option, value and expectation."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(
        prog="signet-train", description=Settings.__doc__, exit_on_error=False, allow_abbrev=False, default_env=False
    )
    parser.add_class_arguments(Settings, as_group=False)
    names = {option.name for option in fields(Settings)}
    args = [_as_declared(argument, names) for argument in argv]
    try:
        namespace = parser.parse_args(args)
    except ArgumentError as error:
        raise BadOptions(_explain(str(error), args)) from error
    settings = Settings(**namespace.as_dict())
    if math.isinf(settings.lr):
        raise BadOptions(_bad_value("lr", "inf"))
    if any(word in settings.strategy for word in FORKING):
        raise BadOptions(
            f"--strategy has value '{settings.strategy}'. Expected one that starts whole processes, such as ddp."
        )
    return settings


def _as_declared(argument: str, names: set[str]) -> str:
    """`--trainer.max_epochs=5` and `--max-epochs=5` as `--max_epochs=5`; a bare switch as `--switch=true`."""
    if not argument.startswith("--"):
        return argument
    option, equals, value = argument[2:].partition("=")
    for group in DOTTED_GROUPS:
        option = option.removeprefix(group)
    option = option.replace("-", "_")
    if option not in names:
        return argument
    if option == "skip_if_champion" and not equals:
        return f"--{option}=true"
    return f"--{option}{equals}{value}"


def _explain(message: str, args: Sequence[str]) -> str:
    """One line for jsonargparse's several."""
    for option in fields(Settings):
        if f'"{option.name}"' in message:
            return _bad_value(option.name, _given(option.name, args))
    return f"{' '.join(message.split())}. `signet-train --help` lists the options."


def _given(name: str, args: Sequence[str]) -> str:
    """The last value that the command line gives to an option."""
    value = ""
    for position, argument in enumerate(args):
        option, equals, rest = argument.partition("=")
        if option == f"--{name}":
            value = rest if equals else next(iter(args[position + 1 : position + 2]), "")
    return value


def _bad_value(name: str, value: str) -> str:
    hint = get_type_hints(Settings)[name]
    expected = EXPECTED.get(hint) or " or ".join(EXPECTED.get(choice, str(choice)) for choice in _choices(hint))
    return f"--{name} has value '{value}'. Expected {expected}."


def _choices(hint: object) -> list[object]:
    """The members of a union or Literal, unions of Literals flattened."""
    members = get_args(hint)
    return [choice for member in members for choice in _choices(member)] if members else [hint]


def read(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[Settings, Environment]:
    """Options first, so that --help and a mistyped option need no MLflow."""
    return read_options(argv), Environment.from_environment(environ)
