"""The command `signet`: deploys, predicts, manages the door, and checks a server's answers by scenarios."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from signet_client.deploy import DeployOptions, deploy
from signet_client.door import commands as door
from signet_client.door.folder import Folder
from signet_client.errors import ClientError
from signet_client.interruption import interruptible
from signet_client.predict import PredictOptions, predict
from signet_client.scenarios.runner import ScenarioOptions, run_scenarios
from signet_client.server import PredictionServer
from signet_client.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

_FAILED = 2
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand. Returns 0 for success, 1 for a refusal or a failed scenario, 2 for any other error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a message may quote what no terminal can write, such as a lone surrogate
            stream.reconfigure(errors="backslashreplace")
    for name in [name for name, value in os.environ.items() if not value]:
        del os.environ[name]  # an empty variable means "not set", for the libraries too
    arguments = _parser().parse_args(argv)
    try:
        with interruptible():
            return _run(arguments)
    except ClientError as error:
        print(f"signet: {error}", file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        print("signet: interrupted", file=sys.stderr)
        return _INTERRUPTED


def _run(arguments: Namespace) -> int:
    if arguments.subcommand == "deploy":
        return deploy(DeployOptions(**vars(arguments.deploy)))
    settings = Settings.from_environment(os.environ)
    if arguments.subcommand in door.COMMANDS:
        return door.chosen(arguments).run(Folder(settings.door))
    server = PredictionServer(settings.url, settings.timeout_s, settings.url_credentials)
    if arguments.subcommand == "predict":
        return predict(PredictOptions(**vars(arguments.predict)), server)
    return run_scenarios(ScenarioOptions(**vars(arguments.scenarios)), server)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="signet", description="Deploy, predict, and prove that wrong requests are refused.")
    commands = parser.add_subcommands()
    for name, options, summary in (
        ("deploy", DeployOptions, "put a model into service and wait until it is served"),
        ("predict", PredictOptions, "ask for the prediction of one file"),
        ("scenarios", ScenarioOptions, "send every kind of right and wrong request and check the answers"),
    ):
        command = ArgumentParser(description=summary)
        command.add_class_arguments(options)
        commands.add_subcommand(name, command, help=summary)
    door.add_to(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
