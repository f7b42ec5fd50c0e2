"""Many models on one machine: what a further one costs, and how soon they answer, on a stack of plain processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import psutil
import requests

from bench.first import bars as bars_of_first
from bench.first import measure as measure_first
from embedded.services import torchserve
from embedded.stack import Stack, running
from testing.alias_moves import Move, move, wrong
from testing.numbered_model import NumberedModel
from testing.polling import until
from testing.steady import Load, p99_by_ms

NEW_VERSIONS = 10
WARM = "warm"
AT_ONCE = 40
ALL = 100
QUIET_S = 20
_SETTLED_S = 5
_SERVED_WITHIN_S = 600
_INTERVAL_S = 0.2
_ROUNDS = 5
_POLL_INTERVAL_S = 2


@dataclass(frozen=True, slots=True)
class Many:
    """All that was measured. Memory is in MiB, and of pages that processes share each has its part (PSS)."""

    alone_mib: dict[str, float]
    """A replica with one model, by what its processes are."""
    further_mib: float
    """What each of the models that came at once takes, in all processes of the replica."""
    new: Sequence[Move]
    at_once_s: float
    """From the first alias to the last one's first answer."""
    failed: Sequence[str]
    """Requests of the steady load on another model that were not answered rightly."""
    p99_ms: dict[str, float]
    """Of that load, by what was going on."""
    restart_s: float
    """From the start of a replica with all models to the last one's first answer."""
    one_ms: float
    """Median of a request to one model."""
    each_ms: float
    """Median of requests to all models in turn."""
    first: dict[str, float]
    """Time of the first requests of a worker / the median of those that follow, by which they are."""


def measure(folder: Path) -> Many:
    """Bring up a stack whose files lie in `folder`, and end it."""
    with running(folder) as stack:
        model = NumberedModel(stack.urls.mlflow, stack.urls.torchserve)
        first, *others = [model.log() for _ in range(1 + NEW_VERSIONS)]
        model.serve(first)
        time.sleep(_SETTLED_S)
        alone = memory(stack)
        model.copy(first, [WARM])
        _deployed(model, [WARM])
        firsts = measure_first(stack, model, WARM, (first, others[0]))
        model.serve(first)
        model.client.delete_registered_model(WARM)
        time.sleep(_SETTLED_S)
        names = [f"{model.name}-{number:03}" for number in range(ALL)]
        model.copy(first, names)
        with model.load() as load:
            times = [time.monotonic()]
            time.sleep(QUIET_S)
            times.append(time.monotonic())
            new = [_moved(model, version, load, share / NEW_VERSIONS) for share, version in enumerate(others)]
            times.append(time.monotonic())
            before = sum(memory(stack).values())
            at_once_s = _deployed(model, names[:AT_ONCE])
            times.append(time.monotonic())
        time.sleep(_SETTLED_S)
        further = (sum(memory(stack).values()) - before) / AT_ONCE
        _deployed(model, names[AT_ONCE:])
        one_ms, each_ms = _median_ms(stack, [model.name]), _median_ms(stack, names)
        restart_s = _restarted(stack, model, names)
    exchanges = load.exchanges
    p99 = p99_by_ms(exchanges, times, {"quiet": 0, f"{AT_ONCE} at once": 2})
    return Many(alone, further, new, at_once_s, wrong(exchanges, first, new), p99, restart_s, one_ms, each_ms, firsts)


def memory(stack: Stack) -> dict[str, float]:
    """MiB of the replica's processes, by what they are."""
    found: dict[str, float] = {}
    for process in psutil.Process(stack.pid(torchserve.NAME)).children(recursive=True):
        try:
            command, info = process.cmdline(), process.memory_full_info()
        except psutil.Error:  # it has just ended
            continue
        kind = next((kind for kind, words in _KINDS.items() if any(words in word for word in command)), "controller")
        # Only Linux tells the share; elsewhere it is what no other process uses.
        found[kind] = found.get(kind, 0) + getattr(info, "pss", info.uss) / 2**20
    return found


# What tells a replica's processes apart: a word of their commands.
_KINDS = {
    "Java": "org.pytorch.serve",
    "workers": "signet_torchserve.worker.forking",
    "workers' shims": "read -r how number",
    "workers, started anew": "model_service_worker.py",
    "enforcement": "signet_contract.enforcement",
}


def _moved(model: NumberedModel, version: str, load: Load, share: float) -> Move:
    """A rollout, this share of the controller's interval after the version before the last one has ended.

    That end is seen in a look at the registry: asked for at once, each rollout would wait for a whole interval.
    """
    time.sleep(share * _POLL_INTERVAL_S)
    moved = move(model, version, load)
    model.wait_until_ended(str(int(version) - 1))
    return moved


def _deployed(model: NumberedModel, names: Sequence[str]) -> float:
    """Give new models the alias at once; seconds from the first of these calls to the last one's first answer."""
    began = time.monotonic()
    model.deploy(names)
    return _all_answer(model, names, began)


def _restarted(stack: Stack, model: NumberedModel, names: Sequence[str]) -> float:
    stack.stop(torchserve.NAME)
    began = time.monotonic()
    stack.start(torchserve.NAME)
    return _all_answer(model, names, began)


def _all_answer(model: NumberedModel, names: Sequence[str], since: float) -> float:
    waiting = list(names)

    def do_all() -> bool:
        # One that does not answer is enough to know: asking for each would take what the rollouts need.
        while waiting and model.answering(waiting[0]) is not None:
            waiting.pop(0)
        return not waiting

    until(f"{len(names)} models answer", do_all, timeout_s=_SERVED_WITHIN_S, interval_s=_INTERVAL_S)
    return time.monotonic() - since


def _median_ms(stack: Stack, names: Sequence[str]) -> float:
    """Of one request to each of these in turn, again and again, over one connection."""
    taken = []
    with requests.Session() as session:
        for name in list(names) * max(_ROUNDS, _ROUNDS * ALL // len(names)):
            began = time.perf_counter()
            answer = session.post(f"{stack.urls.torchserve}/predictions/{name}", json={"inputs": [[1, 2]]}, timeout=30)
            taken.append((time.perf_counter() - began) * 1e3)
            answer.raise_for_status()
    return median(taken)


def bars(measured: Many) -> Iterator[tuple[str, float, float]]:
    """What, the figure, and the most that it may be."""
    yield "a further model, MiB", measured.further_mib, 15
    yield "a replica with one model, MiB", sum(measured.alone_mib.values()), 650
    yield f"{AT_ONCE} aliases set at once: all answer after, s", measured.at_once_s, 15
    yield f"failed requests to another model, rollouts and {AT_ONCE} at once", len(measured.failed), 0
    yield f"its p99, {AT_ONCE} at once / quiet", measured.p99_ms[f"{AT_ONCE} at once"] / measured.p99_ms["quiet"], 3
    yield f"{ALL} models: all answer after a restart, s", measured.restart_s, 30
    yield f"p50 of a request, {ALL} models in turn / one model", measured.each_ms / measured.one_ms, 1.5
    yield "alias to a new version's answer, mean, s", fmean(it.duration_s for it in measured.new), 0.9
    yield from bars_of_first(measured.first)


def table(measured: Many) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: where a replica's memory is."""
    alone = measured.alone_mib
    return ["a replica with one model", *alone, "all"], [
        ["MiB (PSS)", *(f"{mib:.0f}" for mib in alone.values()), f"{sum(alone.values()):.0f}"]
    ]


def summary(measured: Many) -> str:
    """What the table has no column for."""
    steps = {step: fmean(it.steps.get(step, 0) for it in measured.new) for step in measured.new[0].steps}
    told = ", ".join(f"{step} {seconds:.2f}" for step, seconds in steps.items())
    p99 = ", ".join(f"{what} {ms:.0f}" for what, ms in measured.p99_ms.items())
    return f"Seconds of a rollout, mean of {len(measured.new)}: {told}. p99 in ms of a steady load: {p99}."
