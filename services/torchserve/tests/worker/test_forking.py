"""Workers that are forked live and end as those that are started anew, and TorchServe does with them as it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models
import psutil
import pytest
import requests
from mlflow.models import ModelSignature
from models import Formula, rows
from signet_torchserve.archive import builder
from signet_torchserve.archive.file_names import PROGRAM
from signet_torchserve.archive.load_failure import LoadFailure
from signet_torchserve.revision import Revision
from signet_torchserve.server import launch
from signet_torchserve.server.model_server import wait_until_ready
from signet_torchserve.version_options import Options

from testing.oracle import columns_schema
from testing.polling import until
from testing.small_server import SmallServer, small_server

TIMEOUT_S = 3
HANDLER = """
import ctypes, json, os, sys

class Mortal:
    def initialize(self, context):
        self.context = context

    def handle(self, batch, context):
        match batch[0]["body"].decode():
            case "exit":
                sys.exit(3)
            case "segfault":
                ctypes.string_at(0)
            case "hang":  # without ever letting another thread run
                ctypes.PyDLL(None).sleep(600)
            case "print":
                print("a line of its errors", file=sys.stderr)
        return [json.dumps([os.getpid(), os.getcwd(), sys.argv[0], os.environ["LC_ALL"], sys.path[:1], __file__])]
"""
NAMES = ("mortal", "other", "late")
MIB = 1 << 20


@dataclass
class Asked:
    """A TorchServe, and the log that it writes."""

    server: SmallServer
    log: Path

    def told(self, name: str = "mortal", body: str = "") -> Any:
        """What a worker tells of itself; the status if that isn't 200."""
        answer = requests.post(self.server.url(name), data=body, timeout=30)
        return answer.json() if answer.ok else answer.status_code

    def pid(self, name: str = "mortal") -> int:
        """Of the worker that answers, once one does."""
        until(f"{name} answers", lambda: isinstance(self.told(name), list))
        return int(self.told(name)[0])


@pytest.fixture(scope="module", params=[True, False], ids=["forked", "anew"])
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("workers")
    log = folder / "log"
    with (
        log.open("wb") as output,
        small_server(folder, dict.fromkeys(NAMES, HANDLER), is_forked=request.param, log=output) as server,
    ):
        for name in NAMES[:2]:
            server.deploy(name, timeout_s=TIMEOUT_S)
        yield Asked(server, log)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that adds two doubles."""
    signature = ModelSignature(columns_schema(("double", "a"), ("double", "b")))
    return models.save(tmp_path_factory.mktemp("sum") / "model", Formula(lambda x: x.sum(1)), rows(3, 2), signature)


def started_by_torchserve(server: SmallServer) -> list[psutil.Process]:
    return psutil.Process(server.pid).children()


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid)


def parent(pid: int) -> int:
    return psutil.Process(pid).ppid()


def test_whose_child_a_worker_is(asked: Asked) -> None:
    """The forking process', or TorchServe's own."""
    expected = asked.server.forking_pid or asked.server.pid
    assert parent(asked.pid()) == expected


def test_a_worker_has_what_torchserve_gives_it(asked: Asked) -> None:
    """Its arguments, environment, folder and module path are those that TorchServe names."""
    _, folder, program, locale, path, file = asked.told()
    assert program.endswith("ts/model_service_worker.py")
    assert locale == "C.UTF-8"
    assert path == [folder]
    assert Path(file).parent == Path(folder)


@pytest.mark.parametrize("way", ["exit", "segfault", "hang", "killed", "terminated", "killed where TorchServe looks"])
def test_a_worker_that_ends_is_followed_by_another(asked: Asked, way: str) -> None:
    """However it does, its request isn't answered 200, it is gone as a whole, and its neighbour isn't touched."""
    pid, other = asked.pid(), asked.pid("other")
    before = started_by_torchserve(asked.server)
    match way:
        case "killed":
            os.kill(pid, signal.SIGKILL)
        case "terminated" | "killed where TorchServe looks":
            number = signal.SIGTERM if way == "terminated" else signal.SIGKILL
            (started,) = [each for each in before if each.pid == pid or str(pid) in each.cmdline()]
            started.send_signal(number)
        case _:
            assert isinstance(asked.told(body=way), int)
    until("the worker is gone", lambda: is_gone(pid))
    assert asked.pid() != pid
    assert asked.pid("other") == other
    assert len(started_by_torchserve(asked.server)) == len(before)


def test_what_a_worker_writes_is_in_the_log(asked: Asked) -> None:
    """What it writes as an error; its output holds its counters, and is seen in those."""
    asked.told(body="print")
    until("the line is logged", lambda: "a line of its errors" in asked.log.read_text())


def test_a_worker_that_is_stopped(asked: Asked) -> None:
    """TorchServe ends the workers of a version that it is to forget, and nothing of them stays."""
    asked.server.deploy("late")
    pid = asked.pid("late")
    count = len(started_by_torchserve(asked.server))
    assert asked.server.api.remove("late", "1")
    until("one worker is gone", lambda: is_gone(pid) and len(started_by_torchserve(asked.server)) == count - 1)


def test_a_model_is_served_measured_and_refused(asked: Asked, saved: Path) -> None:
    """Our handler answers and counts; of an archive that it can't load it leaves the reason."""
    store, api = asked.server.store, asked.server.api
    for name, revision in (("sum", Revision("1")), ("broken", Revision("2"))):
        mar = store.archive(name, revision)
        builder.build(saved, name, revision, mar)
        store.write_manifest(name, revision)
        folder = store.unpack(name, revision)
        assert folder is not None
        if name == "broken":
            (folder / PROGRAM).write_bytes(b"no program")
        api.ensure(name, revision.id, folder, Options(batch_size=1, timeout_s=10))
    wait_until_ready(api, "sum", "1", workers=1)
    api.set_default("sum", "1")
    answer = requests.post(asked.server.url("sum"), json={"inputs": {"a": [1.5], "b": [2.0]}}, timeout=10)
    assert answer.json() == {"predictions": [{"0": 3.5}]}
    counted = 'signet_predictions_total{model="sum",version="1"'
    until("the metric is told", lambda: counted in requests.get(asked.server.metrics_url, timeout=10).text)
    until("the reason is left", lambda: LoadFailure.of(store.unpacked("broken", "2")) is not None)
    api.remove("broken", "2", at_any_cost=True)


def test_workers_end_with_torchserve(tmp_path: Path, asked: Asked) -> None:
    """One that is killed leaves none of its workers behind, and nothing that stands in for them."""
    is_forked = asked.server.forking_pid is not None
    with small_server(tmp_path, {"mortal": HANDLER}, is_forked=is_forked) as server:
        server.deploy("mortal", workers=2)
        served = server.api.version("mortal")
        assert served is not None
        left = [*started_by_torchserve(server), *map(psutil.Process, served.pids)]
        psutil.Process(server.pid).kill()
        _, alive = psutil.wait_procs(left, timeout=20)
        assert alive == []


def test_the_forking_process_may_die(tmp_path: Path) -> None:
    """Workers go on without it, and are followed by ones that are started anew; when it is back, it forks again."""
    with small_server(tmp_path, dict.fromkeys(NAMES, HANDLER)) as server:
        asked = Asked(server, tmp_path / "log")
        server.deploy("mortal")
        pid = asked.pid()
        assert server.forking_pid is not None
        os.kill(server.forking_pid, signal.SIGKILL)
        until("the worker has another parent", lambda: parent(pid) != server.forking_pid)
        assert asked.pid() == pid
        server.deploy("other")
        assert parent(asked.pid("other")) == server.pid
        os.kill(pid, signal.SIGKILL)
        assert parent(asked.pid()) == server.pid
        address = server.store.sockets / "fork.sock"
        address.unlink()
        again = launch.start_forking(server.store, os.environ)
        try:
            until("the forking process listens", address.is_socket)
            server.deploy("late")
            assert parent(asked.pid("late")) == again.pid
        finally:
            launch.stop(again, 10)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells it")
def test_a_further_worker_is_small(asked: Asked) -> None:
    """A forked worker has less than 15 MiB that it shares with nobody, and the process it came from one thread."""
    own = psutil.Process(asked.pid()).memory_full_info().uss
    if asked.server.forking_pid is None:
        assert own > 50 * MIB
        return
    assert own < 15 * MIB
    assert psutil.Process(asked.server.forking_pid).num_threads() == 1


def test_neither_cuda_nor_mlflow_is_asked_for() -> None:
    """What the forking process imports doesn't ask for GPUs, which no fork could use afterwards, and isn't MLflow."""
    code = (
        "import importlib, sys, torch\n"
        "for name in ('is_available', 'device_count', '_lazy_init', 'init'):\n"
        "    setattr(torch.cuda, name, None)\n"
        "torch._C._cuda_getDeviceCount = None\n"
        "from signet_torchserve.worker import forking\n"
        "for name in forking._IMPORTED:\n"
        "    importlib.import_module(name)\n"
        "print({'mlflow', 'pandas', 'ts.torch_handler'} & set(sys.modules), torch.cuda.is_initialized())"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "set() False\n"
