"""The command `python -m embedded`, which the Makefile calls."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from embedded import background, backup, demo, supervisor
from embedded.errors import EmbeddedError
from embedded.interruption import Interrupted, interruptible
from embedded.settings import Settings


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="embedded", description="Runs Signet's services as processes of this machine."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="train, deploy and check on a throwaway stack")
    commands.add_parser("up", help="keep a stack in the background")
    commands.add_parser("serve", help="keep TorchServe alone in the background, at an MLflow server elsewhere")
    commands.add_parser("status", help="say what runs in the background")
    commands.add_parser("down", help="stop what runs in the background")
    supervise = commands.add_parser("supervise", help="what `up` and `serve` start")
    supervise.add_argument("way")
    commands.add_parser("backup", help="save the database and the bucket of `up`").add_argument("folder", type=Path)
    commands.add_parser("restore", help="put back what was saved").add_argument("folder", type=Path)
    logs = commands.add_parser("logs", help="show the services' logs")
    logs.add_argument("service", nargs="?")
    logs.add_argument("--follow", action="store_true")
    options = parser.parse_args()
    try:
        with interruptible():
            settings = Settings.from_environment()
            run: dict[str, Callable[[], int]] = {
                "demo": lambda: demo.run(settings),
                "up": lambda: background.up(settings),
                "serve": lambda: background.serve(settings),
                "status": lambda: background.status(settings),
                "down": lambda: background.down(settings),
                "supervise": lambda: supervisor.supervise(settings, options.way),
                "backup": lambda: backup.save(settings, options.folder),
                "restore": lambda: backup.load(settings, options.folder),
                "logs": lambda: background.logs(settings, options.service, follow=options.follow),
            }
            return run[options.command]()
    except EmbeddedError as error:
        print(f"\n{options.command}: {error}", file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        print(f"\n{options.command}: {interrupted}", file=sys.stderr)
        return interrupted.exit_code


if __name__ == "__main__":
    sys.exit(main())
