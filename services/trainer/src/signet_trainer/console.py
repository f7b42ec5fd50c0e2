"""Where the trainer talks to whoever started it."""

import sys


def say(message: str) -> None:
    """One line on stdout, at once: container logs are read while the training runs."""
    print(message, flush=True)  # noqa: T201  # the one place that prints


def complain(message: str) -> None:
    """One line on stderr, with the program's name as compilers and shells do it."""
    print(f"signet-train: {message}", file=sys.stderr, flush=True)  # noqa: T201
