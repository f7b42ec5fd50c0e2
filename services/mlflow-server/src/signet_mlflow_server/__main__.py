"""The command `signet-mlflow-server`."""

from __future__ import annotations

import os
import sys

from signet_mlflow_server.settings import InvalidSetting, Settings


def main() -> int:
    """Migrate, then serve in the foreground; 2 says that a setting is wrong."""
    for name in [name for name, value in os.environ.items() if not value]:
        del os.environ[name]  # an empty variable means "not set", for the libraries too
    try:
        settings = Settings.from_environment(os.environ)
    except InvalidSetting as error:
        print(error, file=sys.stderr)
        return 2
    # MLflow is slow to import; a wrong setting is said at once.
    from signet_mlflow_server import server  # noqa: PLC0415 -- as said above

    server.migrate(settings)
    server.serve(settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
