"""What the gateway's hop costs: TorchServe asked directly, through the gateway's HAProxy, and through a bare one.

HAProxy runs as a process beside TorchServe, so that Docker's networks are no part of it. All take turns, and each
HAProxy's CPU is told for a request: on a machine that is shared that is the steadier figure.
"""

from __future__ import annotations

import contextlib
import functools
import re
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path

import psutil

from bench import load, model
from bench.contenders import Contender, signet
from bench.load import MissingTool, Rate
from testing.ports import free_port
from testing.repository import ROOT

_GATEWAY = ROOT / "gateway"
_IMAGE = "signet/gateway:0.1.0"
_LIBRARIES = "/usr/lib/x86_64-linux-gnu"
_BARE = """
global
    maxconn 4096
defaults
    mode http
    timeout connect 1s
    timeout client 630s
    timeout server 630s
listen predictions
    bind 127.0.0.1:{port}
    server torchserve1 {target}
"""
DIRECT, GATEWAY, BARE = "direct", "the gateway's HAProxy", "a bare HAProxy"
_LEAST = {1: 0.65, 8: 0.65, 64: 0.55}
_MOST_P99 = 3.0


@dataclass(slots=True)
class Hop:
    """All that was measured, by way and connections."""

    rounds: dict[tuple[str, int], list[Rate]] = field(default_factory=dict)
    cpu_us: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    """Of HAProxy, for each request."""

    def ratio(self, way: str, connections: int, figure: Callable[[Rate], float]) -> float:
        """Median of the rounds' ratios of a figure to the direct one."""
        pairs = zip(self.rounds[way, connections], self.rounds[DIRECT, connections], strict=True)
        return statistics.median(figure(rate) / figure(direct) for rate, direct in pairs)


def measure(saved: Path, folder: Path, connections: Sequence[int], seconds: int, rounds: int) -> Hop:
    """Measure each way at each number of connections; the arguments are those of `pieces.measure`.

    Raises:
        MissingTool: there is no HAProxy, neither on the path nor as the gateway's image.
    """
    command, found = _haproxy(folder), Hop()
    with signet(saved, folder / "hop", {}) as direct, contextlib.ExitStack() as stack:
        target, _, path = direct.url.removeprefix("http://").partition("/")
        ways: dict[str, tuple[Contender, psutil.Process | None]] = {DIRECT: (direct, None)}
        for way, config in ((GATEWAY, _as_in_the_gateway), (BARE, _BARE.format)):
            port = free_port()
            file = folder / f"{port}.cfg"
            file.write_text(config(port=port, target=target), "utf-8")
            haproxy = stack.enter_context(_running([*command, "-db", "-f", str(file)]))
            ways[way] = replace(direct, name=way, url=f"http://127.0.0.1:{port}/{path}"), haproxy
        for contender, _ in ways.values():
            load.until_it_answers(contender, model.VALID)
        for count in connections:
            for _ in range(rounds):
                for way, (contender, process) in ways.items():
                    parts_s = functools.partial(_parts_s, process)
                    rate, (used_us,) = load.run_through(parts_s, contender, model.VALID, count, seconds)
                    found.rounds.setdefault((way, count), []).append(rate)
                    found.cpu_us.setdefault((way, count), []).append(used_us)
    return found


def _parts_s(process: psutil.Process | None) -> tuple[float, ...]:
    return (load.cpu_s(process),)


def _as_in_the_gateway(*, port: int, target: str) -> str:
    """The gateway's configuration, with one replica that is there for good."""
    text = (_GATEWAY / "haproxy.cfg").read_text("utf-8")
    text = re.sub(r"^resolvers \w+\n(?:    .*\n)+", "", text, flags=re.MULTILINE)
    text = re.sub(r"server-template torchserve .*? check( maxconn \d+)?\n", rf"server torchserve1 {target}\1\n", text)
    text = text.replace("default-server port 8083", "default-server").replace("/usr/local/etc/haproxy", str(_GATEWAY))
    text = text.replace("bind 127.0.0.1:8090", "bind abns@health-{port}").replace(
        "abns@wait_for_replica", "abns@wait_for_replica-{port}"
    )
    return text.replace("bind :8080", "bind 127.0.0.1:{port}").replace("{port}", str(port))


def _haproxy(folder: Path) -> list[str]:
    """What runs HAProxy: the machine's own, or the one in the gateway's image, with that image's libraries."""
    if program := shutil.which("haproxy"):
        return [program]
    docker = shutil.which("docker")
    created = docker and subprocess.run([docker, "create", _IMAGE], capture_output=True, text=True, check=False)
    if not docker or not created or created.returncode:
        raise MissingTool(f"haproxy was not found: expected it on the path, or the image {_IMAGE}.")
    container = created.stdout.strip()
    try:
        for source in ("/usr/sbin/haproxy", _LIBRARIES):
            subprocess.run([docker, "cp", "-qL", f"{container}:{source}", str(folder)], check=True, capture_output=True)
    finally:
        subprocess.run([docker, "rm", container], check=True, capture_output=True)
    libraries = folder / Path(_LIBRARIES).name
    loader = libraries / "ld-linux-x86-64.so.2"
    return [str(loader), "--library-path", str(libraries), str(folder / "haproxy")]


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[psutil.Process]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def bars(measured: Hop) -> Iterator[tuple[str, float, float | None, float | None]]:
    """What, the figure, the least and the most that it may be."""
    for way, count in measured.rounds:
        if way == GATEWAY:
            at = f"{count} connection{'s' * (count > 1)}"
            yield f"through {way} / direct, {at}", measured.ratio(way, count, _RATE), _LEAST.get(count), None
            if count == max(_LEAST):
                yield f"its p99 / direct, {at}", measured.ratio(way, count, _P99), None, _MOST_P99


def table(measured: Hop) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: a way, and at each number of connections its rate, its p99 and what HAProxy takes."""
    counts = list(dict.fromkeys(count for _, count in measured.rounds))
    heads = ["requests/s (p50, p99 in ms; CPU of HAProxy in µs)", *(f"{count} at once" for count in counts)]
    return heads, [[way, *(_cell(measured, way, count) for count in counts)] for way in (DIRECT, GATEWAY, BARE)]


def _cell(measured: Hop, way: str, count: int) -> str:
    rate = load.median(measured.rounds[way, count])
    cpu = f"; {statistics.median(measured.cpu_us[way, count]):.0f}" if way != DIRECT else ""
    return f"{rate.requests_per_s:,.0f} ({rate.p50_ms:.2f}, {rate.p99_ms:.2f}{cpu})"


def document(measured: Hop) -> list[Mapping[str, str]]:
    """The table's rows, for JSON."""
    heads, rows = table(measured)
    return [dict(zip(heads, row, strict=True)) for row in rows]


_RATE: Callable[[Rate], float] = attrgetter("requests_per_s")
_P99: Callable[[Rate], float] = attrgetter("p99_ms")
