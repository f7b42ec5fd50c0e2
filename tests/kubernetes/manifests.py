"""What Kustomize makes of deploy/kubernetes, and who may talk to whom by its NetworkPolicies."""

from __future__ import annotations

import subprocess
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from testing.repository import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
OVERLAYS = tuple(sorted(path.name for path in (FOLDER / "overlays").iterdir()))
COMPONENTS = tuple(sorted(path.name for path in (FOLDER / "components").iterdir()))
WORKLOADS = ("Deployment", "StatefulSet", "Job")
KUBECTL = Path(sysconfig.get_path("scripts"), "kubectl")

Object = dict[str, Any]


def rendered(folder: Path) -> list[Object]:
    """What `kubectl kustomize` makes of a folder."""
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def kustomization(folder: Path, overlay: str, components: Iterable[str]) -> Path:
    """A new folder below `folder`, a copy of deploy/kubernetes, that adds components to an overlay as a user does."""
    own = folder / "own" / "-".join([overlay, *components])
    own.mkdir(parents=True)
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"../../overlays/{overlay}"],
        "components": [f"../../components/{name}" for name in components],
    }
    (own / "kustomization.yaml").write_text(yaml.safe_dump(document), "utf-8")
    return own


def named(objects: Sequence[Object], *kinds: str) -> dict[str, Object]:
    """The objects of some kinds, by name."""
    return {it["metadata"]["name"]: it for it in objects if it["kind"] in kinds}


def pod(workload: Object) -> Object:
    """The specification of a workload's pods."""
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def labels(workload: Object) -> dict[str, str]:
    """The labels of a workload's pods."""
    found: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return found


def reached(objects: Sequence[Object]) -> set[tuple[str, str, int]]:
    """Who reaches whom at which port of a Service: those that the policies of both sides let."""
    workloads, services = named(objects, *WORKLOADS), named(objects, "Service")
    policies = list(named(objects, "NetworkPolicy").values())

    def lets(direction: str, one: Object, other: Object, port: int) -> bool:
        """Whether the policies that select `one` let it talk to `other`, or be talked to."""
        rules = [
            rule
            for policy in policies
            if direction in policy["spec"]["policyTypes"] and _selects(policy["spec"]["podSelector"], one)
            for rule in policy["spec"].get(direction.lower(), [])
        ]
        peers = "from" if direction == "Ingress" else "to"
        return any(_has_port(rule, port) and any(_is_peer(peer, other) for peer in rule[peers]) for rule in rules)

    return {
        (client, server, port["port"])
        for client, source in workloads.items()
        for server, service in services.items()
        for port in service["spec"]["ports"]
        if client != server
        and lets("Egress", source, workloads[server], port["port"])
        and lets("Ingress", workloads[server], source, port["port"])
    }


def _selects(selector: Object, workload: Object) -> bool:
    return selector.get("matchLabels", {}).items() <= labels(workload).items()


def _has_port(rule: Object, port: int) -> bool:
    return port in [it["port"] for it in rule.get("ports", [{"port": port}])]


def _is_peer(peer: Object, workload: Object) -> bool:
    """Whether a peer is the workload; those of other namespaces and addresses outside are not."""
    return "podSelector" in peer and "namespaceSelector" not in peer and _selects(peer["podSelector"], workload)
