"""What the contract's middleware costs: by itself, and three servers (`middleware_server`) with and without it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from signet_contract import Contract
from signet_contract.middleware import ContractMiddleware

from bench import load, model
from bench.contenders import Contender
from testing.polling import until_up
from testing.ports import free_port

SERVERS = {"mlflow": "`mlflow models serve`", "fastapi": "FastAPI", "litserve": "LitServe"}
_CALLS, _ROUNDS = 2000, 15


@dataclass(slots=True)
class Middleware:
    """Microseconds that the middleware adds to a request, and what each server does with it and without it."""

    cost_us: float
    rates: dict[str, dict[int, list[load.Rate]]] = field(default_factory=dict)
    """By server and connections: with, and without."""


def measure(saved: Path, folder: Path, connections: Sequence[int], seconds: int, rounds: int) -> Middleware:
    """Measure with the model in `saved`; logs go to `folder`."""
    found = Middleware(asyncio.run(_cost_us()))
    for name in SERVERS:
        with _running(name, saved, folder) as (with_it, without):
            load.run(with_it, model.VALID, 8, seconds, valid=True)  # warms up
            found.rates[name] = {}
            for count in connections:
                turns: list[list[load.Rate]] = [[], []]
                for _ in range(rounds):
                    for contender, rates in zip((with_it, without), turns, strict=True):
                        rates.append(load.run(contender, model.VALID, count, seconds, valid=True))
                found.rates[name][count] = [load.median(rates) for rates in turns]
    return found


async def _cost_us() -> float:
    """Of a one-row request, the least of some rounds: an app that takes the body, with the middleware less without."""

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({})

    async def receive() -> Any:
        return {"type": "http.request", "body": model.VALID, "more_body": False}

    async def send(_message: Any) -> None:
        pass

    names = ("host", "user-agent", "accept", "accept-encoding", "content-length")
    headers = [(b"content-type", b"application/json"), *((name.encode(), b"1") for name in names)]
    scope = {"type": "http", "method": "POST", "path": "/invocations", "root_path": "", "headers": headers}
    contenders: tuple[Any, ...] = (ContractMiddleware(app, Contract(model.SIGNATURE.to_dict())), app)
    best = [float("inf"), float("inf")]
    for _ in range(_ROUNDS):
        for index, contender in enumerate(contenders):
            began = time.perf_counter()
            for _ in range(_CALLS):
                await contender(scope, receive, send)
            best[index] = min(best[index], 1e6 * (time.perf_counter() - began) / _CALLS)
    return best[0] - best[1]


@contextlib.contextmanager
def _running(name: str, saved: Path, folder: Path) -> Iterator[list[Contender]]:
    port = free_port()
    log = folder / f"{name}.middleware.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "bench.middleware_server", name, str(saved), str(port)],
            cwd=Path(__file__).parents[1],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        urls = [f"http://127.0.0.1:{port}/{which}" for which in ("with", "without")]
        until_up(server, log, lambda: all(map(_answers, urls)))
        yield [Contender(name, SERVERS[name], url, (server.pid,)) for url in urls]
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(url: str) -> bool:
    return requests.post(url, model.VALID, headers={"Content-Type": "application/json"}, timeout=10).ok
