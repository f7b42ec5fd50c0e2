"""What the door costs: the gateway with TLS and a token beside its own port without either, before one Signet.

Both ports are one HAProxy's, as a container of the gateway's base image runs it, with the gateway's own configuration.
"""

from __future__ import annotations

import contextlib
import functools
import re
import statistics
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from signet_client.door import certificate, tokens
from signet_client.door.folder import Folder

from bench import load, model
from bench.contenders import Contender, signet
from bench.load import Rate
from embedded import ports
from testing.repository import ROOT

IMAGE = "haproxy:3.2-trixie"
WAYS = ("own port", "TLS", "token", "door")
"""Neither; one of them, which nothing but this bench opens; both. The load generator pays for TLS, too."""
PARTS = ("gateway", "load generator", "TorchServe")
_DOCKER = ("docker",)
_GATEWAY = ROOT / "gateway"
_HOST = "127.0.0.1"
_CONFIGURATION = "/usr/local/etc/haproxy"
_TLS = "ssl crt /run/door/certificate.pem alpn http/1.1"
_COMMAND = ("haproxy", "-db", "-f", f"{_CONFIGURATION}/haproxy.cfg", "-f", f"{_CONFIGURATION}/public.cfg")


@dataclass(slots=True)
class Doors:
    """All that was measured, by way and connections."""

    rounds: dict[tuple[str, int], list[Rate]] = field(default_factory=dict)
    cpu_us: dict[tuple[str, int], list[tuple[float, ...]]] = field(default_factory=dict)
    """Time of a core that each of `PARTS` takes for a request."""

    def share(self, way: str, connections: int) -> float:
        """Median of the rounds' ratios of a way's throughput to that of the own port."""
        pairs = zip(self.rounds[way, connections], self.rounds[WAYS[0], connections], strict=True)
        return statistics.median(ours.requests_per_s / theirs.requests_per_s for ours, theirs in pairs)


class _Ready(BaseHTTPRequestHandler):
    """Says to the gateway that the server is ready."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"ready": true}')

    def log_message(self, *_: object) -> None:
        pass


def measure(saved: Path, folder: Path, connections: Sequence[int], seconds: int, rounds: int) -> Doors:
    """Measure with the MLflow model in `saved`; in each round each way has its turn, of so many seconds."""
    found = Doors()
    with signet(saved, folder / "doors", {}) as served, _gateway(served, folder / "gateway") as (ways, gateway):
        for count in connections:
            for _ in range(rounds):
                for contender in ways:
                    parts_s = functools.partial(_parts_s, gateway)
                    rate, used_us = load.run_through(parts_s, contender, model.VALID, count, seconds)
                    found.rounds.setdefault((contender.name, count), []).append(rate)
                    found.cpu_us.setdefault((contender.name, count), []).append(used_us)
    return found


def _parts_s(gateway: psutil.Process) -> tuple[float, ...]:
    """What each of `PARTS` has taken. The load generator has ended; TorchServe is all that this process started."""
    here = psutil.Process()
    ended = here.cpu_times()
    return (
        load.cpu_s(gateway),
        ended.children_user + ended.children_system,
        sum(map(load.cpu_s, here.children(recursive=True))),
    )


def table(found: Doors) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: each way's throughput, its share of the own port's, and what a request takes of each part."""
    counts = sorted({count for _, count in found.rounds})
    heads = [f"requests/s (share; µs of a core: {', '.join(PARTS)})", *(f"{count} connections" for count in counts)]
    return heads, [[way, *(_cell(found, way, count) for count in counts)] for way in WAYS]


def _cell(found: Doors, way: str, count: int) -> str:
    rate = load.median(found.rounds[way, count])
    used_us = ", ".join(f"{statistics.median(part):.0f}" for part in zip(*found.cpu_us[way, count], strict=True))
    return f"{rate.requests_per_s:,.0f} ({found.share(way, count):.2f}; {used_us})"


def document(found: Doors) -> list[dict[str, str]]:
    """The table's rows as JSON."""
    heads, rows = table(found)
    return [dict(zip(heads, row, strict=True)) for row in rows]


def bars(found: Doors) -> Iterator[tuple[str, float, float]]:
    """What must hold: the share of the own port's throughput that the door keeps."""
    for count in sorted({count for _, count in found.rounds}):
        yield f"the door / the gateway's own port, at {count} connections", found.share("door", count), 0.9


@contextlib.contextmanager
def _gateway(served: Contender, folder: Path) -> Iterator[tuple[list[Contender], psutil.Process]]:
    at = ports.free([*WAYS, "metrics", "health"])
    configuration, keys = folder / "configuration", folder / "door"
    configuration.mkdir(parents=True)
    keys.mkdir()
    token = tokens.Tokens(Folder(str(keys))).create("bench", tokens.EVERY, 10**6, 10**6, 0)
    certificate.install(Folder(str(keys)), certificate.made_for([_HOST]))
    path, headers = urlsplit(served.url).path, {"Authorization": f"Bearer {token}"}
    authority = str(keys / certificate.FILE)
    ways = [
        Contender("own port", "own port", f"http://{_HOST}:{at['own port']}{path}", ()),
        Contender("TLS", "TLS", f"https://{_HOST}:{at['TLS']}{path}", (), authority=authority),
        Contender("token", "token", f"http://{_HOST}:{at['token']}{path}", (), headers=headers),
        Contender("door", "door", f"https://{_HOST}:{at['door']}{path}", (), headers=headers, authority=authority),
    ]
    with _ready() as ready:
        for file in _GATEWAY.iterdir():
            (configuration / file.name).write_bytes(_moved(file.read_text("utf-8"), served, at, ready).encode())
        mounts = [f"--volume={configuration}:{_CONFIGURATION}:ro", f"--volume={keys}:/run/door:ro"]
        run = [*_DOCKER, "run", "--detach", "--rm", "--network=host", *mounts, IMAGE, *_COMMAND]
        container = subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()
        try:
            for way in ways:
                load.until_it_answers(way, model.VALID)
            inspect = [*_DOCKER, "inspect", "--format={{.State.Pid}}", container]
            pid = subprocess.run(inspect, check=True, capture_output=True, text=True).stdout
            yield ways, psutil.Process(int(pid))
        finally:
            subprocess.run([*_DOCKER, "kill", container], check=False, capture_output=True)


def _moved(text: str, served: Contender, at: dict[str, int], ready: int) -> str:
    """The gateway's own configuration, on free ports of the loopback and before the server that there is."""
    for old, new in (
        ("bind :8080", f"bind {_HOST}:{at['own port']}\n    bind {_HOST}:{at['TLS']} {_TLS}"),
        ("bind :8443", f"bind {_HOST}:{at['token']}\n    bind {_HOST}:{at['door']}"),
        ("bind :8405", f"bind {_HOST}:{at['metrics']}"),
        ("bind 127.0.0.1:8090", f"bind {_HOST}:{at['health']}"),
        ("default-server port 8083", f"default-server port {ready}"),
    ):
        text = text.replace(old, new)
    template = (
        r'server-template torchserve 100 "[^"]*" resolvers names resolve-prefer ipv4 init-addr none init-state down'
    )
    return re.sub(template, f"server torchserve {urlsplit(served.url).netloc}", text)


@contextlib.contextmanager
def _ready() -> Iterator[int]:
    """The port of what says that the server is ready."""
    with ThreadingHTTPServer((_HOST, 0), _Ready) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
