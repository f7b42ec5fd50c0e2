"""Kubernetes runs what Compose runs: what differs without a reason given here is a fault."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from facts import FIELDS, NETWORK, Facts, differences, of_compose, of_manifests
from manifests import OVERLAYS, ROOT, WORKLOADS, Object, labels, named, pod, reached

Render = Callable[..., list[Object]]
# What only a cluster has: the gateway asks its name server for a whole name.
OF_CLUSTERS = {
    "gateway": {"NAMESPACE": "(metadata.namespace)", "SIGNET_REPLICAS": "torchserve.$(NAMESPACE).svc.cluster.local"}
}
LEFT_OUT = {
    "trial": {"secrets"},  # deploy/kubernetes/make-secrets makes them
    "own-stores": {"secrets", "trainer", "client"},
    "own-mlflow": {"secrets", "client"},
}
FILES = {
    "trial": ("docker-compose.yml",),
    "own-stores": ("docker-compose.yml", "compose/own-postgres.yml", "compose/own-s3.yml"),
    "own-mlflow": ("docker-compose.serving.yml",),
}
# Each can be loaded from nowhere else, and survives its pod; all else is made again.
KEPT = {"postgres-data", "minio-data"}


def _expected(*files: str) -> dict[str, Facts]:
    compose = of_compose(*files)
    for name, more in OF_CLUSTERS.items():
        compose[name] = replace(compose[name], environment={**compose[name].environment, **more})
    return compose


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_service_is_the_same_in_compose_and_in_kubernetes(render: Render, overlay: str) -> None:
    """Image, command, user, variables, volumes, networks, limits and rights are alike."""
    kubernetes = of_manifests(render(overlay))
    compose = _expected(*FILES[overlay])
    assert differences(compose, kubernetes) == {}
    assert compose.keys() - kubernetes.keys() == LEFT_OUT[overlay]


@pytest.mark.parametrize(
    ("component", "file"),
    [
        ("seaweedfs", "docker-compose.seaweedfs.yml"),
        ("accounts", "compose/accounts.yml"),
        ("door", "docker-compose.public.yml"),
    ],
)
def test_a_component_is_what_compose_lays_over(render: Render, component: str, file: str) -> None:
    """What Compose has in a file of its own, Kubernetes has as a component."""
    expected = _expected("docker-compose.yml", file)
    assert expected != _expected("docker-compose.yml")
    assert differences(expected, of_manifests(render("trial", component))) == {}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_who_reaches_whom_is_the_same_in_compose_and_in_kubernetes(render: Render, overlay: str) -> None:
    """By the NetworkPolicies a pod reaches those with which its service shares a network, and no other."""
    objects = render(overlay)
    compose, kubernetes = of_compose(*FILES[overlay]), named(objects, *WORKLOADS)
    ports = {name: [port["port"] for port in it["spec"]["ports"]] for name, it in named(objects, "Service").items()}
    expected = {
        (client, server, port)
        for client in kubernetes
        for server in ports
        for port in ports[server]
        if client != server and compose[client].networks & compose[server].networks
    }
    assert expected
    assert reached(objects) == expected


def test_only_what_must_last_outlives_its_pod(render: Render) -> None:
    """The database and the artifacts have claims; for nothing else a disk has to be found."""
    claims = {
        claim["metadata"]["name"]
        for workload in named(render("trial"), "StatefulSet").values()
        for claim in workload["spec"]["volumeClaimTemplates"]
    }
    assert claims == KEPT


def test_compose_mounts_nothing_that_a_config_map_would_have_to_copy() -> None:
    """HAProxy's configuration and config.properties are in the images: there is one of each for both ways to run."""
    for name, facts in of_compose("docker-compose.yml", "docker-compose.seaweedfs.yml").items():
        assert [source for source, _ in facts.volumes.values() if not re.fullmatch(r"[a-z-]+", source)] == [], name


# That each of these can fail ------------------------------------------------------------------------------------------


def _container(workload: Object) -> Object:
    container: Object = pod(workload)["containers"][0]
    return container


def _mount(workload: Object, path: str) -> Object:
    (mount,) = (it for it in _container(workload)["volumeMounts"] if it["mountPath"] == path)
    found: Object = mount
    return found


def _volume(workload: Object, name: str) -> Object:
    (volume,) = (it for it in pod(workload)["volumes"] if it["name"] == name)
    found: Object = volume
    return found


CHANGES: dict[str, tuple[str, Callable[[Object], object]]] = {
    "image": ("gateway", lambda it: _container(it).update(image="signet/gateway:0.2.0")),
    "arguments": ("minio-setup", lambda it: _container(it).update(args=["setup-s4"])),
    "user": ("torchserve", lambda it: pod(it)["securityContext"].update(runAsUser=10003)),
    "environment": ("torchserve", lambda it: _container(it)["env"].pop()),
    "settings": ("mlflow-server", lambda it: _container(it).pop("envFrom")),
    "volumes": ("mlflow-server", lambda it: _mount(it, "/run/secrets/mlflow-server").pop("readOnly")),
    "in_memory": ("client", lambda it: _container(it)["volumeMounts"].remove(_mount(it, "/tmp"))),  # noqa: S108 -- of a container
    "shared_memory": ("trainer", lambda it: _volume(it, "shm")["emptyDir"].update(sizeLimit="64Mi")),
    "memory": ("postgres", lambda it: _container(it)["resources"]["limits"].update(memory="1Gi")),
    "networks": ("client", lambda it: labels(it).update({f"{NETWORK}database": "member"})),
    "stop_s": ("torchserve", lambda it: pod(it).update(terminationGracePeriodSeconds=30)),
    "runs_once": ("trainer", lambda it: it.update(kind="Deployment")),
    "has_init": ("torchserve", lambda it: pod(it).pop("shareProcessNamespace")),
    "root_is_read_only": ("minio", lambda it: _container(it)["securityContext"].update(readOnlyRootFilesystem=False)),
    "capabilities": ("minio", lambda it: _container(it)["securityContext"].update(capabilities={"drop": ["KILL"]})),
    "gains_no_privileges": (
        "gateway",
        lambda it: _container(it)["securityContext"].update(allowPrivilegeEscalation=True),
    ),
}


@pytest.mark.parametrize("field", FIELDS)
def test_each_difference_is_seen(render: Render, field: str) -> None:
    """Manifests that differ from Compose in one field of one service are told apart by it, and by nothing else."""
    service, change = CHANGES[field]
    objects = deepcopy(render("trial"))
    change(named(objects, *WORKLOADS)[service])
    assert differences(_expected("docker-compose.yml"), of_manifests(objects)) == {service: {field}}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda it: it["artifacts"]["spec"].pop("ingress"), id="a way is shut"),
        pytest.param(lambda it: it["artifacts"]["spec"]["egress"][0].update(ports=[{"port": 9001}]), id="another port"),
        pytest.param(lambda it: it["nobody"]["spec"].update(ingress=[{"from": [{"podSelector": {}}]}],
                                                            egress=[{"to": [{"podSelector": {}}]}]), id="all are let"),
    ],
)  # fmt: skip
def test_each_other_way_is_seen(render: Render, change: Callable[[dict[str, Object]], object]) -> None:
    """Policies that shut a way or open one are told apart from those that there are."""
    objects = deepcopy(render("trial"))
    change(named(objects, "NetworkPolicy"))
    assert reached(objects) != reached(render("trial"))


def test_a_change_in_composes_file_is_seen(render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison reads the file: another image, variable or network there is told."""
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    for old, new in {
        "signet/client:0.1.0": "signet/client:0.2.0",
        "PGUSER: mlflow": "PGUSER: other",
        "networks: [training]": "networks: [training, database]",
    }.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (tmp_path / "docker-compose.yml").write_text(text, "utf-8")
    for dockerfile in ROOT.rglob("Dockerfile"):
        if ".venv" not in dockerfile.parts:
            target = tmp_path / dockerfile.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(dockerfile.read_text("utf-8"), "utf-8")
    monkeypatch.setattr("facts.ROOT", tmp_path)
    assert differences(_expected("docker-compose.yml"), of_manifests(render("trial"))) == {
        "client": {"image"},
        "mlflow-server": {"environment"},
        "trainer": {"networks"},
    }
