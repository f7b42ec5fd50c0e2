"""Load, by wrk."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil
import requests

from bench.contenders import Contender
from testing.polling import until

_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [==[{body}]==]
function done(summary, latency)
  local errors = summary.errors
  print(string.format('{{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "refused": %d, "broken": %d}}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"""


class MissingTool(Exception):
    """A program that the benchmark needs is not installed."""


class WrongAnswer(Exception):
    """A contender did not answer as it must, so that its speed means nothing."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What one contender did under one load."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float


def require_wrk() -> None:
    """Refuse to begin without the load generator.

    Raises:
        MissingTool: wrk is not on the path.
    """
    if shutil.which("wrk") is None:
        raise MissingTool(
            "wrk was not found: expected the load generator on the path (Debian, Ubuntu: apt install wrk)."
        )


def run(contender: Contender, body: bytes, connections: int, seconds: int, *, valid: bool) -> Rate:
    """Ask for `seconds` seconds over as many connections, each sending as soon as it has its answer.

    Raises:
        WrongAnswer: a valid request was refused, or an invalid one got something else than a 400.
    """
    expected = 200 if valid or contender.is_noop else 400
    if (got := status(contender, body)) != expected:
        raise WrongAnswer(f"{contender.name} answers {got} to {body!r}: expected {expected}.")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_SCRIPT.format(body=body.decode()))
        script.flush()
        headers = [f"-H{name}: {value}" for name, value in contender.headers.items()]
        options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script.name, *headers]
        command = ["wrk", *options, contender.url]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    told = json.loads(output.splitlines()[-1])
    if told["broken"] or told["refused"] != (told["requests"] if expected != requests.codes.ok else 0):
        raise WrongAnswer(f"{contender.name} over {connections} connections: {told}; expected {expected} each time.")
    return Rate(told["requests"] / told["duration_us"] * 1e6, told["p50_us"] / 1e3, told["p99_us"] / 1e3)


def run_through(
    parts_s: Callable[[], tuple[float, ...]], contender: Contender, body: bytes, connections: int, seconds: int
) -> tuple[Rate, tuple[float, ...]]:
    """As `run` with a valid body, and the µs of a core that each part on the way takes for a request.

    `parts_s` tells the seconds of a core that each of them has taken until now.
    """
    before = parts_s()
    rate = run(contender, body, connections, seconds, valid=True)
    requests = rate.requests_per_s * seconds
    return rate, tuple((now - then) * 1e6 / requests for now, then in zip(parts_s(), before, strict=True))


def cpu_s(process: psutil.Process | None) -> float:
    """The seconds of a core that a process has taken, without its children; 0 if there is none."""
    if process is None:
        return 0.0
    times = process.cpu_times()
    return float(times.user + times.system)


def status(contender: Contender, body: bytes) -> int:
    """What one request is answered with."""
    headers = {"Content-Type": "application/json", **contender.headers}
    verify = contender.authority or True
    return requests.post(contender.url, body, headers=headers, timeout=60, verify=verify).status_code


def until_it_answers(contender: Contender, body: bytes) -> None:
    """Return when it predicts for a valid body."""
    until(f"{contender.url} answers", lambda: status(contender, body) == requests.codes.ok)


def median(rates: Sequence[Rate]) -> Rate:
    """The median of each figure by itself."""
    return Rate(
        statistics.median(rate.requests_per_s for rate in rates),
        statistics.median(rate.p50_ms for rate in rates),
        statistics.median(rate.p99_ms for rate in rates),
    )


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a contender's workers in MiB: all that is resident, and its share where others use the same pages."""

    rss_mib: float
    pss_mib: float


def memory(contender: Contender) -> Memory:
    """What its processes take now."""
    infos = [psutil.Process(pid).memory_full_info() for pid in contender.pids]
    # Only Linux tells the share; elsewhere it is what no other process uses.
    shares = [getattr(info, "pss", info.uss) for info in infos]
    return Memory(sum(info.rss for info in infos) / 2**20, sum(shares) / 2**20)
