"""Starts TorchServe, its enforcement service and what forks its workers, as children that cannot outlive us."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import ts
from signet_contract import os_compat
from signet_contract.enforcement import service, service_client
from ts.model_server import load_properties

from signet_torchserve import switchable_pieces
from signet_torchserve.archive.store import Store
from signet_torchserve.errors import NotServable
from signet_torchserve.revision import Revision
from signet_torchserve.server import frontend, jre, patches
from signet_torchserve.server.client import TorchServe
from signet_torchserve.settings import Settings
from signet_torchserve.switchable_pieces import Piece
from signet_torchserve.version_options import Options
from signet_torchserve.worker import forking, shim, undecided_requests

METRICS_CONFIG = Path(__file__).with_name("metrics.yaml")
_WORKER_PORTS = 10000, 20000  # below those that the kernel hands out
# Java compiles what runs often once more, with care. That begins after ten times as many runs as by default: it had
# taken half of TorchServe's time while forty models came into service (`make bench BENCH='--only many'`). Under load it
# is done after seconds all the same; without it a third fewer requests are answered.
_COMPILE_LATE = (
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
    "-XX:Tier4BackEdgeThreshold=400000",
)
DEFAULT_STARTUP_TIMEOUT_S = 120  # where config.properties names none: TorchServe's own


def start(
    settings: Settings,
    store: Store,
    environment: Mapping[str, str],
    log: IO[bytes] | None = None,
    served: Mapping[str, Revision] | None = None,
) -> subprocess.Popen[bytes]:
    """Start TorchServe as a child, with its log in the file `log`, or on our output.

    The versions `served` lie unpacked in the store. TorchServe knows them before its port opens, and requests to them
    wait for their workers. If the controller registered them, seconds later, requests would be answered 404 until then.

    The `torchserve` launcher is not used: it puts a second process in between, swallows the exit code, does not pass
    signals on and keeps one pid file for the whole machine. All else that it does is the command line below.

    Raises:
        InvalidSetting: there is no Java that could run it.
    """
    home = Path(ts.__file__).parent.parent
    vmargs = load_properties(str(settings.config_file)).get("vmargs", "").split()
    config_file = _config_file(settings, store, served or {})
    fitting = switchable_pieces.fitting(settings.pieces)
    prepared = frontend.prepared(store.temporary / "frontend", patches.PATCHES if Piece.PATCHES in fitting else ())
    # Only with both does TorchServe keep a request that its worker has not answered.
    are_kept = patches.UNDECIDED.name in prepared.patches and Piece.WORKER_LOOP in fitting
    enforced = {service_client.ADDRESS: str(_enforcement_address(store))}
    command = [
        jre.java(environment),
        f"-Dmodel_server_home={home}",
        f"-Djava.io.tmpdir={store.sockets}",  # where it puts the workers' sockets
        f"-Dio.netty.native.workdir={store.temporary}",  # where Netty puts a library: /tmp may be mounted noexec
        f"-Dlog4j.configurationFile={Path(__file__).with_name('log4j2.xml').as_uri()}",
        "-XX:-UsePerfData",  # Java would write such data to /tmp, whatever java.io.tmpdir says
        *_COMPILE_LATE,
        *vmargs,
        "-cp",
        prepared.classpath,
        "org.pytorch.serve.ModelServer",
        "--python",
        _worker_python(store) if Piece.FORK in fitting else sys.executable,
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
            "LC_ALL": "C.UTF-8",  # Java reads paths as the locale says
            **_addresses(store),
            "TMPDIR": str(store.temporary),
            "LOG_LOCATION": str(store.temporary),
            "METRICS_LOCATION": str(store.temporary),
            **(enforced if Piece.ENFORCEMENT_SERVICE in fitting else {}),
            **switchable_pieces.told(fitting),
            "TS_METRICS_CONFIG": str(METRICS_CONFIG),
            # Any free ports, if it starts gRPC: another TorchServe may have the usual ones.
            "TS_GRPC_INFERENCE_PORT": "0",
            "TS_GRPC_MANAGEMENT_PORT": "0",
            undecided_requests.ARE_KEPT: str(are_kept).lower(),
        },
        preexec_fn=os_compat.parent_death_signal(signal.SIGKILL),  # noqa: PLW1509 -- one call, which takes no lock
    )


def _addresses(store: Store) -> dict[str, str]:
    if isinstance(store.management, Path):
        return {"TS_MANAGEMENT_ADDRESS": f"unix:{store.management}"}
    # Several TorchServes may run on this machine, each with ports for its workers from the first one on.
    return {
        "TS_MANAGEMENT_ADDRESS": f"http://127.0.0.1:{store.management}",
        "TS_INITIAL_WORKER_PORT": str(random.randrange(*_WORKER_PORTS)),  # noqa: S311 -- no secret
    }


def _config_file(settings: Settings, store: Store, served: Mapping[str, Revision]) -> Path:
    """TorchServe's settings, with a snapshot of the versions that it serves from the start.

    The option `--models` would not do: with it TorchServe takes a delay of 0 as not set, and lets batches wait 100 ms.

    Source: https://docs.pytorch.org/serve/snapshot.html
    """
    properties = load_properties(str(settings.config_file))
    models = {}
    for name, revision in served.items():
        try:
            options = Options.from_tags(revision.tags)
        except NotServable:  # an older Signet admitted its tags: the controller tells what is wrong with them
            continue
        models[name] = {
            revision.id: {
                "defaultVersion": True,
                "marName": store.unpacked(name, revision.id).name,
                "minWorkers": options.workers,
                "maxWorkers": options.workers,
                "batchSize": options.batch_size,
                "maxBatchDelay": options.max_batch_delay_ms,
                "responseTimeout": options.timeout_s,
                "startupTimeout": int(properties.get("default_startup_timeout", DEFAULT_STARTUP_TIMEOUT_S)),
            }
        }
    text = settings.config_file.read_text("utf-8")
    if models:
        snapshot = {"name": "served last", "modelCount": len(models), "models": models}
        text += f"\nmodel_snapshot={json.dumps(snapshot)}\n"
    path = store.temporary / "config.properties"
    path.write_text(text, "utf-8")
    return path


def start_enforcement(store: Store, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """The processes that decide for the workers what the fast path leaves undecided, as children of one."""
    return _started(["-m", service.__name__, str(_enforcement_address(store))], environment)


def start_forking(store: Store, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """The process that forks TorchServe's workers."""
    told = {
        "LC_ALL": "C.UTF-8",  # as TorchServe's workers have it
        "OPENBLAS_NUM_THREADS": "1",  # else it starts threads when numpy is imported, before the forks
    }
    # -P: a worker must not import what lies in our working folder.
    return _started(["-P", "-m", forking.__name__, str(_forking_address(store))], {**environment, **told})


SIDE_PROCESSES = (
    (Piece.FORK, "The forking process", start_forking),
    (Piece.ENFORCEMENT_SERVICE, "The enforcement service", start_enforcement),
)
"""What runs beside TorchServe, each if its piece takes part. The forking process comes first: TorchServe starts workers
as soon as it is up."""


def _started(arguments: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Python with these arguments, as a child that cannot outlive us."""
    return subprocess.Popen(  # noqa: S603 -- every word of it is ours
        [sys.executable, *arguments],
        env=dict(environment),
        preexec_fn=os_compat.parent_death_signal(signal.SIGKILL),  # noqa: PLW1509 -- as above
    )


def _worker_python(store: Store) -> str:
    """The program that TorchServe starts as Python: a script with our shim, as TorchServe passes its Python no options.

    Python itself where no file of the store may be executed, as on a volume that is mounted noexec.
    """
    path = store.temporary / "python"
    words = [sys.executable, "-I", "-S", shim.__file__, str(_forking_address(store))]
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', "utf-8")
    path.chmod(0o700)
    return str(path) if os.access(path, os.X_OK) else sys.executable


def _forking_address(store: Store) -> Path:
    return store.sockets / "fork.sock"


def _enforcement_address(store: Store) -> Path:
    return store.sockets / "enforcement.sock"


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
    return TorchServe(store.management, inference.replace("0.0.0.0", "127.0.0.1"))  # noqa: S104 -- asked, not listened on
