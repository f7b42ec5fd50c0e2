"""Load, by wrk."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil
import requests

from bench.contenders import NOTHING, Contender

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


def run(
    contender: Contender,
    body: bytes,
    connections: int,
    seconds: int,
    *,
    valid: bool,
    headers: Mapping[str, str] = NOTHING,
    authority: str | bool = True,
) -> Rate:
    """Ask for `seconds` seconds over as many connections, each sending as soon as it has its answer.

    `headers` are added to each request; `authority` is the certificate that the first one asks for.

    Raises:
        WrongAnswer: a valid request was refused, or an invalid one got something else than a 400.
    """
    expected = 200 if valid or contender.is_noop else 400
    if (got := status(contender, body, headers, authority)) != expected:
        raise WrongAnswer(f"{contender.name} answers {got} to {body!r}: expected {expected}.")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_SCRIPT.format(body=body.decode()))
        script.flush()
        told = [f"-H{name}: {value}" for name, value in headers.items()]
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--latency",
            "-s",
            script.name,
            *told,
            contender.url,
        ]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    counted = json.loads(output.splitlines()[-1])
    if counted["broken"] or counted["refused"] != (counted["requests"] if expected != requests.codes.ok else 0):
        raise WrongAnswer(f"{contender.name} over {connections} connections: {counted}; expected {expected} each time.")
    return Rate(counted["requests"] / counted["duration_us"] * 1e6, counted["p50_us"] / 1e3, counted["p99_us"] / 1e3)


def status(contender: Contender, body: bytes, headers: Mapping[str, str], authority: str | bool) -> int:
    """What one request is answered with."""
    headers = {"Content-Type": "application/json", **headers}
    return requests.post(contender.url, body, headers=headers, timeout=60, verify=authority).status_code


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
