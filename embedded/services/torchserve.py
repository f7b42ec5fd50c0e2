"""TorchServe and its controller as a process."""

import sys
from collections.abc import Mapping
from pathlib import Path

from embedded import http
from embedded.datadir import DataDir
from embedded.processes.service import Service
from embedded.settings import ROOT

NAME = "torchserve"
PORTS = ("inference", "metrics", "health")


def service(folder: DataDir, ports: dict[str, int], registry: Mapping[str, str]) -> Service:
    """`signet-torchserve` on 127.0.0.1 only. It waits by itself for the registry that the variables `registry` name."""
    addresses = {f"TS_{name.upper()}_ADDRESS": f"http://127.0.0.1:{ports[name]}" for name in PORTS[:2]}
    return Service(
        name=NAME,
        command=(str(Path(sys.executable).with_name("signet-torchserve")),),
        log=folder.log(NAME),
        cwd=folder.sub(NAME),
        env={
            **addresses,
            "TS_CONFIG_FILE": str(ROOT / "config.properties"),
            "SIGNET_HOME": str(folder.sub(NAME)),
            "SIGNET_HEALTH_ADDRESS": f"http://127.0.0.1:{ports['health']}",
            **registry,
        },
        niceness=0,
        grace_s=6,  # requests that take longer are cut off: nobody shall wait long for `down`
        ready=lambda: http.answers(f"http://127.0.0.1:{ports['inference']}/ping"),
    )
