"""The container's health check: `python -m signet_mlflow_server.health` exits with 0 if the server answers, else 1."""

from __future__ import annotations

import http.client
import os
import sys

from signet_mlflow_server.settings import Settings

TIMEOUT_S = 3.0


def check(port: int) -> str | None:
    """Say what is wrong with the server on this machine's `port`; None if nothing is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"http://127.0.0.1:{port}/health: {error}"
    finally:
        connection.close()
    return None if status == http.client.OK else f"http://127.0.0.1:{port}/health answered {status}"


def main() -> int:
    """Check once and print what is wrong."""
    problem = check(Settings.from_environment(os.environ).port)
    if problem:
        print(problem, file=sys.stderr)  # noqa: T201 -- a command's output
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
