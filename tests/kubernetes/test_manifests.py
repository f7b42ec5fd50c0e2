"""What holds for the manifests by themselves."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from manifests import COMPONENTS, FOLDER, KUBECTL, OVERLAYS, ROOT, WORKLOADS, Object, labels, named, pod, rendered

Render = Callable[..., list[Object]]
EACH_OVERLAY = pytest.mark.parametrize("overlay", OVERLAYS)
RESTRICTED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


@EACH_OVERLAY
def test_pods_are_restricted(render: Render, overlay: str) -> None:
    """The namespace enforces the Pod Security Standard `restricted`, and each pod keeps it.

    Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    """
    objects = render(overlay)
    (namespace,) = named(objects, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, workload in named(objects, *WORKLOADS).items():
        spec = pod(workload)
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & spec.keys(), name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert all(RESTRICTED_VOLUMES & volume.keys() for volume in spec.get("volumes", [])), name
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            rights = container["securityContext"]
            assert rights["allowPrivilegeEscalation"] is False, name
            assert rights["capabilities"] == {"drop": ["ALL"]}, name
            assert rights["readOnlyRootFilesystem"] is True, name
            assert not any("hostPort" in port for port in container.get("ports", [])), name


@EACH_OVERLAY
def test_pods_know_nothing_of_the_cluster(render: Render, overlay: str) -> None:
    """No pod can ask Kubernetes' API, and no Service of the namespace becomes a variable of a pod."""
    for name, workload in named(render(overlay), *WORKLOADS).items():
        assert pod(workload)["automountServiceAccountToken"] is False, name
        assert pod(workload)["enableServiceLinks"] is False, name


@EACH_OVERLAY
def test_nobody_is_reached_by_default(render: Render, overlay: str) -> None:
    """One policy selects every pod and lets nothing through, in or out."""
    policy = named(render(overlay), "NetworkPolicy")["nobody"]
    assert policy["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@EACH_OVERLAY
def test_selectors_and_ports_meet_something(render: Render, overlay: str) -> None:
    """Each Service, budget and probe names pods and ports that are there; each selector is its pods' label."""
    objects = render(overlay, *COMPONENTS) if overlay == "trial" else render(overlay)
    workloads = named(objects, *WORKLOADS)
    for name, workload in workloads.items():
        if workload["kind"] != "Job":
            assert workload["spec"]["selector"]["matchLabels"].items() <= labels(workload).items(), name
        (container,) = pod(workload)["containers"]
        ports = {port["name"] for port in container.get("ports", [])}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container.get(probe, {})
            assert {asked.get(how, {}).get("port") for how in ("httpGet", "tcpSocket")} - {None} <= ports, name
        assert (workload["kind"] == "Job") != ("readinessProbe" in container), name
    served: dict[str, dict[str, int]] = {}
    for service in named(objects, "Service").values():
        (name,) = (it for it in workloads if service["spec"]["selector"].items() <= labels(workloads[it]).items())
        served.setdefault(name, {}).update({it["targetPort"]: it["port"] for it in service["spec"]["ports"]})
    for name, ports_served in served.items():
        ports = {port["name"]: port["containerPort"] for port in pod(workloads[name])["containers"][0]["ports"]}
        ports.pop("door-metrics", None)  # Prometheus is sent to pods, if at all
        assert ports_served == ports, name
    for name, budget in named(objects, "PodDisruptionBudget").items():
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels(workloads[name]).items(), name


@EACH_OVERLAY
def test_pods_end_in_good_order(render: Render, overlay: str) -> None:
    """The gateway hears on until each node has heard that it goes; what follows is Compose's time to stop.

    A replica that ends says so at /ready, which the gateway asks itself: the Service names it as long as it is there.
    """
    objects = render(overlay)
    gateway = pod(named(objects, "Deployment")["gateway"])
    assert gateway["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] > 0
    service = named(objects, "Service")["torchserve"]["spec"]
    assert (service["clusterIP"], service["publishNotReadyAddresses"]) == ("None", True)
    for name in ("torchserve", "gateway"):
        rollout = named(objects, "Deployment")[name]["spec"]["strategy"]["rollingUpdate"]
        assert rollout == {"maxSurge": 1, "maxUnavailable": 0}, name


def test_the_gateway_finds_the_replicas_by_name(render: Render) -> None:
    """The name is that of the Service, in whatever namespace, and HAProxy takes it from this variable."""
    service = named(render("trial"), "Service")["torchserve"]["metadata"]["name"]
    variables = {it["name"]: it for it in pod(named(render("trial"), "Deployment")["gateway"])["containers"][0]["env"]}
    assert variables["SIGNET_REPLICAS"]["value"] == f"{service}.$(NAMESPACE).svc.cluster.local"
    assert variables["NAMESPACE"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
    configuration = (ROOT / "gateway" / "haproxy.cfg").read_text("utf-8")
    assert configuration.count('"${SIGNET_REPLICAS-torchserve}:8080"') == configuration.count("server-template ")
    assert "parse-resolv-conf" in configuration


def test_keda_asks_for_metrics_that_there_are(render: Render) -> None:
    """The query's metrics are TorchServe's, by labels that they have; Prometheus reads them at an open port."""
    objects = render("own-mlflow", "metrics", "autoscaling")
    declared = (ROOT / "services/torchserve/src/signet_torchserve/server/metrics.yaml").read_text("utf-8")
    metrics = {it["name"]: it["dimensions"] for kind in yaml.safe_load(declared)["ts_metrics"].values() for it in kind}
    (scaled,) = named(objects, "ScaledObject").values()
    (trigger,) = scaled["spec"]["triggers"]
    asked = re.findall(r"ts_\w+", trigger["metadata"]["query"])
    assert asked
    for name in asked:
        assert "model_name" in metrics[name]
    torchserve = named(objects, "Deployment")["torchserve"]
    assert scaled["spec"]["scaleTargetRef"]["name"] == torchserve["metadata"]["name"]
    assert "replicas" not in torchserve["spec"], "their number is KEDA's"
    (monitor,) = named(objects, "ServiceMonitor").values()
    (endpoint,) = monitor["spec"]["endpoints"]
    service = named(objects, "Service")["torchserve"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (port,) = (it["port"] for it in service["spec"]["ports"] if it["name"] == endpoint["port"])
    (rule,) = named(objects, "NetworkPolicy")["metrics"]["spec"]["ingress"]
    assert [it["port"] for it in rule["ports"]] == [port]
    (address,) = (it["value"] for it in pod(torchserve)["containers"][0]["env"] if it["name"] == "TS_METRICS_ADDRESS")
    assert address == f"http://0.0.0.0:{port}"


def test_no_password_is_in_the_manifests(render: Render) -> None:
    """Each Secret that a pod mounts is one that make-secrets prints, and none is in the repository."""
    wanted = set()
    for overlay in OVERLAYS:
        objects = render(overlay)
        assert not named(objects, "Secret")
        for workload in named(objects, *WORKLOADS).values():
            wanted |= {it["secret"]["secretName"] for it in pod(workload).get("volumes", []) if "secret" in it}
    first, second = made_secrets(), made_secrets()
    assert first.keys() == {"postgres-secrets", "minio-secrets", "mlflow-server-secrets"}
    assert all(first[name] != second[name] for name in first), "they are random"
    accounts = made_secrets("accounts")
    mounted = {
        it["secret"]["secretName"]
        for workload in named(render("trial", "accounts"), *WORKLOADS).values()
        for it in pod(workload).get("volumes", [])
        if "secret" in it
    }
    assert accounts.keys() == mounted
    passwords = json.loads(accounts["mlflow-server-secrets"]["accounts.json"])
    assert passwords["controller"] == accounts["torchserve-secrets"]["mlflow_password"]
    elsewhere = made_secrets("serving", MLFLOW_TRACKING_TOKEN="sesame")  # noqa: S106 -- a test's
    assert elsewhere.keys() | first.keys() == wanted
    assert elsewhere["torchserve-secrets"] == {"mlflow_password": "", "mlflow_token": "sesame", "aws_credentials": ""}
    mine = "correct-horse"
    chosen = made_secrets(POSTGRES_PASSWORD=mine)
    assert chosen["postgres-secrets"]["mlflow_password"] == mine
    assert chosen["mlflow-server-secrets"]["pgpass"] == f"*:*:*:*:{mine}\n"


def made_secrets(*half: str, **environment: str) -> dict[str, dict[str, str]]:
    """What make-secrets prints: content by key, by Secret."""
    path = f"{KUBECTL.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [FOLDER / "make-secrets", *half],
        env={"PATH": path, "HOME": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return {
        it["metadata"]["name"]: {key: base64.b64decode(value).decode() for key, value in it["data"].items()}
        for it in yaml.safe_load_all(done.stdout)
        if it
    }


def test_the_pages_overlay_is_one(tmp_path: Path) -> None:
    """What docs/kubernetes.md has people write renders, names every image of ours, and sets what it says."""
    page = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    own = shutil.copytree(FOLDER, tmp_path / "kubernetes") / "overlays" / "mine"
    own.mkdir()
    for document in (text, text.replace("# components", "components")):
        (own / "kustomization.yaml").write_text(document, "utf-8")
        objects = rendered(own)
        images = {it["image"] for workload in named(objects, *WORKLOADS).values() for it in pod(workload)["containers"]}
        assert {image for image in images if not image.startswith("registry.example.org/signet/")} == {
            "postgres:17-trixie"
        }
        (settings,) = named(objects, "ConfigMap").values()
        assert settings["data"]["SIGNET_ALIAS"] == "champion"
        assert "SIGNET_PLAIN" in settings["data"]
    (pushed,) = re.findall(r"for name in (.*); do", page)
    assert {f"registry.example.org/signet/{name}:0.1.0" for name in pushed.split()} == images - {"postgres:17-trixie"}


def test_settings_files_list_what_can_be_set() -> None:
    """Their names are .env's: ports are not set here, and passwords are make-secrets' to take."""
    settings = {name for file in FOLDER.rglob("*.env") for name in _names(file)} - {"no_proxy"}
    program = (ROOT / "secrets" / "make_secrets.py").read_text("utf-8")
    left = {name for name in _names(ROOT / ".env.example") if f'"{name}"' not in program and not name.endswith("_PORT")}
    assert settings == left


def _names(file: Path) -> set[str]:
    return set(re.findall(r"^(\w+)=", file.read_text("utf-8"), re.MULTILINE))
