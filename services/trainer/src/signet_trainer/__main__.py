"""The command `signet-train`."""

import logging
import os
import sys
import tempfile
from pathlib import Path

from signet_trainer import MODEL, terminal
from signet_trainer.errors import TrainerError, TrainingStopped
from signet_trainer.settings import Environment, Settings, read
from signet_trainer.terminal import complain, say


def main() -> int:
    """Exit code: 0 trained and registered (or nothing to do), 1 MLflow was lost, 2 bad options, 128+n by a signal."""
    terminal.stop_on_signals()
    for name in [name for name, value in os.environ.items() if not value]:
        del os.environ[name]  # an empty variable means "not set", for the libraries too
    try:
        settings, environment = read(sys.argv[1:], os.environ)
        if environment.main_process:
            lead(settings, environment)
        else:
            assist(settings)
    except TrainerError as error:
        complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        complain(str(stop := TrainingStopped(terminal.received())))
        return stop.exit_code
    return 0


def lead(settings: Settings, environment: Environment) -> None:
    """Train and register. MLflow is asked first: PyTorch is slow to load, and MLflow may be down or have a champion."""
    from signet_trainer import tracking  # noqa: PLC0415 -- MLflow is slow to load, and --help need not wait for it

    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its warnings announce retries, one by one
    os.environ.update(environment.credentials)
    client = tracking.connect(environment.tracking_uri)
    if settings.skip_if_champion and (version := tracking.champion_version(client, environment.alias)):
        say(f"{MODEL} version {version} is {environment.alias} already: nothing to train.")
        return
    say("loading PyTorch and Lightning")
    from signet_trainer import job  # noqa: PLC0415 -- slow to load

    with tempfile.TemporaryDirectory(prefix="signet-train-") as scratch:
        job.run(client, settings, environment, Path(scratch))


def assist(settings: Settings) -> None:
    """Take part in a distributed training: Lightning has started this command as a helper."""
    from signet_trainer import job  # noqa: PLC0415 -- as above

    job.assist(settings)


if __name__ == "__main__":
    sys.exit(main())
