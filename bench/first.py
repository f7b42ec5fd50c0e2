"""The first requests that a worker gets, beside those that follow: after a rollout, and after it was forked anew."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import psutil
from signet_torchserve.worker import forking

from bench.at_once import Connections
from embedded.services import torchserve
from embedded.stack import Stack
from testing.numbered_model import NumberedModel
from testing.polling import until
from testing.repository import ALIAS

TIMES = 5
SIZES = (1, 8, 32)
_AFTERWARDS = 5
_OTHERS = 10
"""Requests to another model before each: TorchServe itself is not at rest."""
_AT_REST_S = 0.5
"""Before each request: a worker that was at rest is slower, the first time and later."""
_BODY = b'{"inputs": [[1, 2]]}'


def measure(stack: Stack, model: NumberedModel, warm: str, versions: Sequence[str]) -> dict[str, float]:
    """Time of a worker's first requests / the median of those after them, the median of `TIMES` workers each.

    Args:
        stack: serves both.
        model: what is rolled out.
        warm: name of another model of the kind, which is asked first: connections and TorchServe are no part of it.
        versions: two of `model`, to and fro.
    """
    first: dict[str, float] = {}
    asked = {size: Connections(stack.urls.torchserve, size, _BODY) for size in SIZES}
    version = 0

    def roll_out() -> None:
        nonlocal version
        version = 1 - version
        model.client.set_registered_model_alias(model.name, ALIAS, versions[version])
        until("the version is ready", lambda: model.tags(versions[version]).get("serving.status") == "ready")

    def restart() -> None:
        workers = _workers(stack)
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        until("there are others", lambda: len(_workers(stack) - workers) == len(workers))

    for what, make_new in (("rollout", roll_out), ("fork", restart)):
        for size, connections in asked.items():
            ratios = [_ratio(connections, model.name, warm, make_new) for _ in range(TIMES)]
            first[f"first {size} after a {what}"] = median(ratios)
    return first


def _ratio(connections: Connections, name: str, warm: str, make_new: Callable[[], object]) -> float:
    def asked_s() -> float:
        time.sleep(_AT_REST_S)
        for _ in range(_OTHERS):
            connections.ask(f"/predictions/{warm}")
        return connections.ask(f"/predictions/{name}")

    make_new()
    first_s = asked_s()
    return first_s / median(asked_s() for _ in range(_AFTERWARDS))


def _workers(stack: Stack) -> set[int]:
    """Process ids of the workers; the process that forks them has the same command."""
    below = psutil.Process(stack.pid(torchserve.NAME)).children(recursive=True)
    forkers = {it.pid for it in below if forking.__name__ in " ".join(_command(it))}
    return {it.pid for it in below if it.pid in forkers and it.ppid() in forkers}


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has just ended
        return []


def bars(first: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """What, the figure, and the most that it may be."""
    return [(f"{what} / the median of those that follow", ratio, 1.5) for what, ratio in first.items()]
