"""A TorchServe, started as the service starts it, with models that are nothing but a handler."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from model_archiver.model_archiver import ModelArchiver
from model_archiver.model_archiver_config import ModelArchiverConfig
from signet_torchserve.archive.store import Store
from signet_torchserve.server import launch
from signet_torchserve.server.client import TorchServe
from signet_torchserve.server.model_server import wait_until_ready
from signet_torchserve.settings import Settings
from signet_torchserve.version_options import Options

from testing.polling import until
from testing.ports import free_addresses
from testing.repository import ROOT

ECHO = """
class Echo:
    def initialize(self, context):
        pass

    def handle(self, batch, context):
        return [request["body"] for request in batch]
"""
"""A handler that answers each body with itself."""


@dataclass
class SmallServer:
    """A TorchServe, its process id and store, and where the metrics are."""

    api: TorchServe
    pid: int
    forking_pid: int | None
    """Of the process that forks its workers; None if they are started anew."""
    store: Store
    inference: str
    metrics_url: str

    def url(self, name: str) -> str:
        """Where a model answers."""
        return f"{self.inference}/predictions/{name}"

    def deploy(self, name: str, *, batch_size: int = 1, timeout_s: int = 60, workers: int = 1) -> None:
        """Have workers answer a model's requests."""
        mar = self.store.archives / f"{name}.mar"
        self.api.ensure(name, "1", mar, Options(batch_size=batch_size, workers=workers, timeout_s=timeout_s))
        wait_until_ready(self.api, name, "1", workers)
        self.api.set_default(name, "1")


@contextmanager
def small_server(
    folder: Path,
    handlers: Mapping[str, str],
    settings: str = "",
    *,
    is_forked: bool = True,
    log: IO[bytes] | None = None,
) -> Iterator[SmallServer]:
    """Start it; version 1 of each model, by its handler's source, lies in the model store.

    Args:
        folder: an empty one.
        handlers: source by name of the model.
        settings: lines that config.properties has besides.
        is_forked: whether its workers are forked from one process.
        log: where it writes what it logs, if not on our output.
    """
    environment = os.environ | free_addresses()
    store = Store(folder / "home")
    for name, handler in handlers.items():
        (folder / f"{name}.py").write_text(handler)
        config = ModelArchiverConfig(
            name, str(folder / f"{name}.py"), export_path=str(store.archives), version="1", archive_format="zip-store"
        )
        ModelArchiver.generate_model_archive(config)
    config_file = folder / "config.properties"
    config_file.write_text(f"{(ROOT / 'config.properties').read_text()}\n{settings}\n")
    settled = Settings.from_environment({"TS_CONFIG_FILE": str(config_file), "SIGNET_FORK": str(is_forked).lower()})
    processes = [launch.start_forking(store, environment)] if is_forked else []
    process = launch.start(settled, store, environment, log)
    processes.append(process)
    api = launch.client(settled, store, environment)
    try:
        until("TorchServe answers", api.is_up)
        forking_pid = processes[0].pid if is_forked else None
        urls = environment["TS_INFERENCE_ADDRESS"], f"{environment['TS_METRICS_ADDRESS']}/metrics"
        yield SmallServer(api, process.pid, forking_pid, store, *urls)
    finally:
        for each in reversed(processes):
            launch.stop(each, 10)
        store.close()
