#!/usr/bin/env python3
"""Turns what `docker compose config --format json` prints into a stack file for `docker stack deploy`.

Compose and Swarm read different dialects of one format. Keys that Swarm calls otherwise are renamed. Keys are left out
if Swarm does the same in another way: the order of starting (a task that fails is started again), building,
no-new-privileges (the engine's own setting), and the volumes with passwords (Swarm's secrets). Any other key stays, and
`docker stack deploy` complains if it doesn't know it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

# Since 20.10, what all of this needs.
VERSION = "3.9"
HAS_ANOTHER_WAY = ("build", "depends_on", "security_opt", "restart")
# Name of the service that fills the volumes `…-secrets`, and their ending.
SECRETS = "secrets"


def stack(configuration: dict[str, Any]) -> dict[str, Any]:
    """Return the stack with Compose's services, networks, volumes and secrets."""
    networks = {
        name: {"driver": "overlay", **_only(network, "internal", "attachable")}
        for name, network in configuration["networks"].items()
    }
    return {
        "version": VERSION,
        "services": {
            name: service(of_compose) for name, of_compose in configuration["services"].items() if name != SECRETS
        },
        "networks": networks,
        "volumes": {name: {} for name in configuration["volumes"] if not _holds_secrets(name)},
        "secrets": configuration["secrets"],
    }


def service(of_compose: dict[str, Any]) -> dict[str, Any]:
    """Return one service in Swarm's words."""
    said = {name: value for name, value in of_compose.items() if name not in HAS_ANOTHER_WAY and value is not None}
    deploy = said.setdefault("deploy", {})
    # A name leads to the tasks themselves: the gateway has to know each replica, and no kernel needs virtual addresses.
    deploy["endpoint_mode"] = "dnsrr"
    deploy.setdefault("resources", {})["limits"] = {"memory": said.pop("mem_limit")}
    if of_compose["restart"] == "no":
        deploy["mode"] = "replicated-job"
        # The job may start before the services that it needs.
        deploy["restart_policy"] = {"condition": "on-failure", "delay": "5s"}
    mounts = [
        _only(mount, "type", "source", "target", "read_only")
        for mount in said.pop("volumes", [])
        if not _holds_secrets(mount["source"])
    ]
    # Swarm sets no owner and mode: everyone in the container may write there.
    mounts += [{"type": "tmpfs", "target": entry.partition(":")[0]} for entry in said.pop("tmpfs", [])]
    if size := said.pop("shm_size", None):
        mounts.append({"type": "tmpfs", "target": "/dev/shm", "tmpfs": {"size": int(size)}})  # noqa: S108 -- of the container
    said["volumes"] = mounts
    if options := said.pop("dns_opt", None):
        said["environment"]["RES_OPTIONS"] = " ".join(options)
    said["ports"] = [{**port, "published": int(port["published"])} for port in said.get("ports", [])]
    said["secrets"] = [{**secret, "mode": int(secret["mode"], 8)} for secret in said.get("secrets", [])]
    return said


def _holds_secrets(volume: str) -> bool:
    return volume.endswith(f"-{SECRETS}")


def _only(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: document[name] for name in names if name in document}


if __name__ == "__main__":
    json.dump(stack(json.load(sys.stdin)), sys.stdout, indent=2)
