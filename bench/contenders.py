"""Who is measured: handlers in one TorchServe with one config.properties, and MLflow's own server beside it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import psutil
from model_archiver.model_archiver import ModelArchiver
from model_archiver.model_archiver_config import ModelArchiverConfig
from signet_torchserve.archive import builder
from signet_torchserve.archive.file_names import LABELS, MLMODEL, PROGRAM
from signet_torchserve.archive.store import Store
from signet_torchserve.revision import Revision
from signet_torchserve.server import launch
from signet_torchserve.server.model_server import wait_until_ready
from signet_torchserve.settings import Settings
from signet_torchserve.version_options import Options

from testing.polling import answers, until_up
from testing.ports import free_addresses, free_port
from testing.repository import ROOT

SOURCES = Path(__file__).with_name("handlers")
STOP_TIMEOUT_S = 20
VERSION = "1"
NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that answers requests at `url`."""

    name: str
    title: str
    url: str
    pids: tuple[int, ...]
    """The processes that hold a model; of MLflow's server all that it has."""
    start_s: float = 0.0
    """Seconds until the workers of a TorchServe's model were ready."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those that each request has besides its media type."""
    authority: str = ""
    """File of the certificate that it shows, if it does."""

    @property
    def is_noop(self) -> bool:
        """Whether it answers anything, a wrong request too."""
        return self.name in NOOPS


@dataclass(frozen=True, slots=True)
class _Handler:
    title: str
    source: Path | None
    """The archive's handler; None for the one that config.properties names."""
    batch_size: int
    max_batch_delay_ms: int


# By the names that TorchServe serves them under.
_HANDLERS = {
    "noop": _Handler("no-op, unbatched", SOURCES / "noop.py", 1, 0),
    "noop_batched": _Handler("no-op, batches of 32", SOURCES / "noop.py", 32, 0),
    "noop_waiting": _Handler("no-op, batches of 32, delay 1 ms", SOURCES / "noop.py", 32, 1),
    "ours": _Handler("Signet", None, 32, 0),
    "seed": _Handler("a handler the seed's way", SOURCES / "seed_style.py", 1, 0),
}
NAMES = (*_HANDLERS, "mlflow")
NOOPS = ("noop", "noop_batched", "noop_waiting")


@contextlib.contextmanager
def running(saved: Path, folder: Path, names: Collection[str]) -> Iterator[list[Contender]]:
    """The contenders of these names, ready to answer until the context ends.

    Args:
        saved: the MLflow model that they serve.
        folder: where everything that they write goes, their logs too.
        names: some of `NAMES`.
    """
    with contextlib.ExitStack() as stack:
        handlers = {name: handler for name, handler in _HANDLERS.items() if name in names}
        contenders = stack.enter_context(_in_torchserve(handlers, saved, folder))
        if "mlflow" in names:
            contenders.append(stack.enter_context(_mlflow_server(saved, folder)))
        yield contenders


@contextlib.contextmanager
def signet(saved: Path, folder: Path, told: Mapping[str, str]) -> Iterator[Contender]:
    """Signet alone, in a TorchServe of its own.

    Args:
        saved: the MLflow model that it serves.
        folder: a new one, where everything that it writes goes.
        told: settings of the service.
    """
    folder.mkdir()
    with _in_torchserve({"ours": _HANDLERS["ours"]}, saved, folder, told) as (contender,):
        yield contender


@contextlib.contextmanager
def _in_torchserve(
    handlers: Mapping[str, _Handler], saved: Path, folder: Path, told: Mapping[str, str] = NOTHING
) -> Iterator[list[Contender]]:
    store = Store(folder / "torchserve")
    environment = os.environ | free_addresses()
    ours = {"SIGNET_HOME": str(store.home), "TS_CONFIG_FILE": str(ROOT / "config.properties")}
    settings = Settings.from_environment({**ours, **told})
    log = folder / "torchserve.log"
    with log.open("wb") as output:
        server = launch.start(settings, store, environment, output)
        others = [begin(store, environment) for piece, _, begin in launch.SIDE_PROCESSES if piece in settings.pieces]
    try:
        api = launch.client(settings, store, environment)
        until_up(server, log, api.is_up)
        contenders = []
        for name, handler in handlers.items():
            mar = store.archive(name, Revision(VERSION))
            _build(mar, name, handler.source, saved)
            began = time.monotonic()
            options = Options(batch_size=handler.batch_size, max_batch_delay_ms=handler.max_batch_delay_ms)
            api.ensure(name, VERSION, mar, options)
            wait_until_ready(api, name, VERSION, workers=1)
            start_s = time.monotonic() - began
            api.set_default(name, VERSION)
            served = api.version(name)
            url = f"{environment['TS_INFERENCE_ADDRESS']}/predictions/{name}"
            contenders.append(Contender(name, handler.title, url, served.pids if served else (), start_s))
        yield contenders
    finally:
        launch.stop(server, STOP_TIMEOUT_S)
        for other in others:
            launch.stop(other, STOP_TIMEOUT_S)


def _build(mar: Path, name: str, source: Path | None, saved: Path) -> None:
    """Write our archive of the saved model; with a handler's source, the same files behind that handler."""
    builder.build(saved, name, Revision(VERSION), mar)
    if source is None:
        return
    with tempfile.TemporaryDirectory(dir=mar.parent) as folder:
        with zipfile.ZipFile(mar) as files:
            files.extractall(folder)
        ModelArchiver.generate_model_archive(
            ModelArchiverConfig(
                model_name=name,
                version=VERSION,
                handler=str(source),
                extra_files=",".join(f"{folder}/{file}" for file in (MLMODEL, PROGRAM, LABELS)),
                export_path=folder,
                archive_format="zip-store",
                force=True,
            )
        )
        Path(folder, f"{name}.mar").replace(mar)


@contextlib.contextmanager
def _mlflow_server(saved: Path, folder: Path) -> Iterator[Contender]:
    port = free_port()
    command = ["-m", "mlflow", "models", "serve", "--env-manager", "local", "--model-uri", str(saved)]
    log = folder / "mlflow.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, *command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
            stdout=output,
            stderr=output,
        )
    try:
        until_up(server, log, lambda: answers(f"http://127.0.0.1:{port}/ping"))
        pids = (server.pid, *(child.pid for child in psutil.Process(server.pid).children(recursive=True)))
        url = f"http://127.0.0.1:{port}/invocations"
        yield Contender("mlflow", "`mlflow models serve`", url, pids)
    finally:
        for child in psutil.Process(server.pid).children(recursive=True):
            child.kill()
        server.kill()
        server.wait()
