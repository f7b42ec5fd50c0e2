"""`python -m signet_torchserve.health`: whether this replica serves what it should; the container's health check.

Healthy means that TorchServe and the agent answer, that every champion is served, and that each gives its golden
answer. One line on standard error says what is so; exit code 0 or 1.
"""

from __future__ import annotations

import os
import sys

from signet_torchserve import archive
from signet_torchserve.management import TorchServe, TorchServeError
from signet_torchserve.settings import InvalidSetting, Settings
from signet_torchserve.store import read_status


def main() -> int:
    """Exit code of the health check."""
    try:
        settings = Settings.from_environment(os.environ)
        healthy, line = check(settings)
    except (InvalidSetting, TorchServeError, OSError) as error:
        healthy, line = False, str(error)
    sys.stderr.write(f"{line}\n")
    return 0 if healthy else 1


def check(settings: Settings) -> tuple[bool, str]:
    """Whether all is well, and one line that says so or why not."""
    from signet_torchserve import torchserve  # noqa: PLC0415 -- needs a readable config file

    status = read_status(settings.home)
    if status is None:
        return False, "The agent has not looked at the registry yet."
    registry = "" if status.registry == "reachable" else f" The registry is not reachable: {status.registry}"
    if status.pending:
        return False, f"Not served yet: {', '.join(status.pending)}.{registry}"
    if not status.deployments:
        return False, f"No registered model carries the alias {settings.alias!r} yet.{registry}"
    client = TorchServe(*torchserve.addresses(settings, os.environ))
    for name, version in status.deployments.items():
        golden = archive.golden(settings.home / "archives" / f"{name}@{version}.mar")
        if golden is not None and client.predict(name, version, golden["request"]) != golden["response"]:
            return False, f"{name} version {version} does not give its golden answer."
    served = ", ".join(f"{name} version {version}" for name, version in status.deployments.items())
    refused = f" Refused: {', '.join(status.refused)}." if status.refused else ""
    return True, f"Serving {served}.{refused}{registry}"


if __name__ == "__main__":
    sys.exit(main())
