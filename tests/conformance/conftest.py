"""The servers, all of one model, started once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # these helpers

with warnings.catch_warnings(action="ignore"):  # both leave their version.txt open
    import model_archiver.model_archiver  # noqa: F401 -- only to be loaded here
    import ts.service  # noqa: F401 -- as above
    from signet_torchserve.archive import builder
    from signet_torchserve.revision import Revision
    from signet_torchserve.server.launch import start_enforcement, stop

    from testing.polling import answers, until_up
    from testing.ports import free_port
    from testing.repository import ROOT
    from testing.small_server import small_server

SERVERS = ["TorchServe", "mlflow models serve", "LitServe", "FastAPI"]


@dataclass(frozen=True)
class Running:
    """Addresses by server: behind the contract, and by itself."""

    checked: dict[str, str]
    alone: dict[str, str]


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """TorchServe with our handler, and the others as `servers.py` has them."""
    folder = tmp_path_factory.mktemp("conformance")
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    apps, litserve = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        saving = stack.enter_context(
            subprocess.Popen([sys.executable, ROOT / "examples" / "ride.py"], cwd=folder, env=environment)
        )
        home = folder / "torchserve"
        home.mkdir()
        torchserve = stack.enter_context(small_server(home, {}))
        enforcement = start_enforcement(torchserve.store, environment)
        stack.callback(stop, enforcement, 10)
        assert saving.wait() == 0
        pages = {"apps": f"http://127.0.0.1:{apps}/fastapi/docs", "litserve": f"http://127.0.0.1:{litserve}/health"}
        servers = {}
        for kind, port in (("apps", apps), ("litserve", litserve)):
            command = [sys.executable, str(Path(__file__).with_name("servers.py")), kind, str(port)]
            log = stack.enter_context((folder / f"{kind}.log").open("wb"))
            servers[kind] = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
            stack.callback(_end, servers[kind])
        builder.build(folder / "ride", "ride", Revision("1"), torchserve.store.archives / "ride.mar")
        torchserve.deploy("ride")
        for kind, page in pages.items():
            until_up(servers[kind], folder / f"{kind}.log", partial(answers, page))
        yield Running(
            {
                "TorchServe": torchserve.url("ride"),
                "mlflow models serve": f"http://127.0.0.1:{apps}/mlflow/invocations",
                "LitServe": f"http://127.0.0.1:{litserve}/invocations",
                "FastAPI": f"http://127.0.0.1:{apps}/fastapi/invocations",
            },
            {
                "mlflow models serve": f"http://127.0.0.1:{apps}/alone/mlflow/invocations",
                "LitServe": f"http://127.0.0.1:{litserve}/alone",
                "FastAPI": f"http://127.0.0.1:{apps}/alone/fastapi/invocations",
            },
        )


def _end(server: subprocess.Popen[bytes]) -> None:
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
