"""The command `python -m embedded`, which the Makefile calls."""

import argparse
import sys

from embedded import background, demo
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
    commands.add_parser("status", help="what of it runs")
    commands.add_parser("down", help="stop it")
    supervise = commands.add_parser("supervise", help="what `up` and `serve` start")
    supervise.add_argument("way")
    logs = commands.add_parser("logs", help="what the services say")
    logs.add_argument("service", nargs="?")
    logs.add_argument("--follow", action="store_true")
    options = parser.parse_args()
    try:
        with interruptible():
            settings = Settings.from_environment()
            match options.command:
                case "demo":
                    return demo.run(settings)
                case "logs":
                    return background.logs(settings, options.service, follow=options.follow)
                case "supervise":
                    return background.supervise(settings, options.way)
                case command:
                    code: int = getattr(background, command)(settings)
                    return code
    except EmbeddedError as error:
        print(f"\n{options.command}: {error}", file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        print(f"\n{options.command}: {interrupted}", file=sys.stderr)
        return interrupted.exit_code


if __name__ == "__main__":
    sys.exit(main())
