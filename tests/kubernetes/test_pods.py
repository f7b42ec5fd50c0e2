"""The trial's pods in containers of a Docker engine, under flags that say what their specifications say.

No cluster runs here: what only a cluster does (policies, probes' consequences, rollouts) is not in this.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from manifests import ROOT, Object, named, pod
from pods import Pods, running
from test_manifests import made_secrets

from testing.docker import docker
from testing.polling import until

pytestmark = pytest.mark.timeout(1800)

BUILT = ("docker-compose.yml", "docker-compose.seaweedfs.yml")
UP_S = 420
LISTENING = "0A"
# SeaweedFS makes users there, for who has a certificate that nobody has; the policy `artifacts` lets nobody there.
SHUT = {"minio": {19000}}
SLOW = """
import mlflow, torch
from mlflow.models import infer_signature
class Slow(torch.nn.Module):
    def forward(self, rows):
        square = rows.mean() + torch.eye(1000)
        for _ in range(60):
            square = square @ square
            square = square / square.abs().max()
        return rows.sum(dim=1) + 0 * square.sum()
rows = torch.ones(1, 2)
model = mlflow.pytorch.log_model(
    Slow(), registered_model_name="slow", pip_requirements=["torch"], input_example=rows.numpy(),
    signature=infer_signature(rows.numpy(), rows.sum(dim=1).numpy()),
)
mlflow.MlflowClient().set_registered_model_alias("slow", "champion", "1")
"""
"""A model that takes seconds for an answer."""
ANSWER = {"predictions": [2.0]}


@pytest.fixture(scope="module")
def objects(render: Callable[..., list[Object]]) -> list[Object]:
    """With SeaweedFS, whose image needs no registry, and metrics that can be reached."""
    return render("trial", "seaweedfs", "metrics", "autoscaling")


@pytest.fixture(scope="module")
def pods(objects: list[Object]) -> Iterator[Pods]:
    """All of them, started at once."""
    services = named(objects, "Deployment", "StatefulSet", "Job").keys() - {"postgres"}
    build = ["docker", "compose", *(f"--file={file}" for file in BUILT), "build", "--quiet", "secrets", *services]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=1500)
    with running(objects, made_secrets(), "python:3.11-slim-bookworm") as pods:
        yield pods


@pytest.fixture(scope="module")
def jobs(pods: Pods) -> dict[str, Any]:
    """What the engine knows of each job, once all of them have ended."""
    names = [name for name, workload in pods.workloads.items() if workload["kind"] == "Job"]

    def ended() -> dict[str, Any] | None:
        states = {name: pods.inspect(name)["State"] for name in names}
        return states if {(it["Status"], it["ExitCode"]) for it in states.values()} == {("exited", 0)} else None

    try:
        return until("all jobs have ended well", ended, timeout_s=UP_S)
    except TimeoutError as error:
        for name in names:
            error.add_note(f"{name}:\n{docker('logs', '--tail=20', f'signet-pods-{name}')}")
        raise


def _long_running(pods: Pods) -> list[str]:
    return [name for name, workload in pods.workloads.items() if workload["kind"] != "Job"]


def test_the_stack_comes_up_in_any_order(jobs: dict[str, Any]) -> None:
    """Without anyone to wait for another, everything is set up, trained and served, and the client's scenarios pass."""
    assert {name: state["ExitCode"] for name, state in jobs.items()} == dict.fromkeys(
        ("postgres-setup", "minio-setup", "trainer", "client"), 0
    )


@pytest.mark.usefixtures("jobs")
def test_each_probe_says_yes(pods: Pods) -> None:
    """Every probe of every pod, asked again and again as a cluster's node asks it."""
    asked = set()
    for name in _long_running(pods):
        container = pods.container(name)
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            if probe := container.get(kind):
                asked.add((name, kind))
                until(f"{kind} of {name}", partial(_says_yes, pods, name, probe, ports), timeout_s=60)
    assert asked >= {(name, "readinessProbe") for name in _long_running(pods)}


def _says_yes(pods: Pods, name: str, probe: Object, ports: dict[str, int]) -> bool:
    if "httpGet" in probe:
        url = f"http://{pods.address(name)}:{ports[probe['httpGet']['port']]}{probe['httpGet']['path']}"
        return requests.get(url, timeout=probe["timeoutSeconds"]).ok
    if "tcpSocket" in probe:
        command = ["bash", "-c", f"</dev/tcp/127.0.0.1/{ports[probe['tcpSocket']['port']]}"]
    else:
        command = ["timeout", str(probe["timeoutSeconds"]), *probe["exec"]["command"]]
    command = ["docker", "exec", f"signet-pods-{name}", *command]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


@pytest.mark.usefixtures("jobs")
def test_predictions_are_answered(pods: Pods) -> None:
    """The gateway, which found the replica by its name in the cluster, answers."""
    body = (ROOT / "sample.json").read_bytes()
    url = f"http://{pods.address('gateway')}:8080/predictions/iris_classification"
    assert requests.post(url, body, timeout=30).text == "SETOSA"


@pytest.mark.usefixtures("jobs")
def test_prometheus_reads_what_keda_asks_for(pods: Pods, objects: list[Object]) -> None:
    """TorchServe tells at the ServiceMonitor's port what the ScaledObject's query is about, of each deployment."""
    (scaled,) = named(objects, "ScaledObject").values()
    (endpoint,) = named(objects, "ServiceMonitor")["torchserve"]["spec"]["endpoints"]
    (port,) = (it["containerPort"] for it in pods.container("torchserve")["ports"] if it["name"] == endpoint["port"])
    told = requests.get(f"http://{pods.address('torchserve')}:{port}{endpoint['path']}", timeout=10).text
    asked = re.findall(r"ts_\w+", scaled["spec"]["triggers"][0]["metadata"]["query"])
    assert asked
    for name in asked:
        assert re.search(rf'^{name}{{.*model_name="iris_classification".*}} [\d.E]+$', told, re.MULTILINE), told


@pytest.mark.usefixtures("jobs")
def test_no_process_has_a_right_that_the_pod_lacks(pods: Pods) -> None:
    """The kernel agrees: its user, no capability, no new privilege, a seccomp filter, a read-only root."""
    for name in _long_running(pods):
        security = pod(pods.workloads[name])["securityContext"]
        pid = pods.inspect(name)["State"]["Pid"]
        text = Path(f"/proc/{pid}/status").read_text("utf-8")
        status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        assert set(status["Uid"].split()) == {str(security["runAsUser"])}, name
        assert set(status["Gid"].split()) == {str(security["runAsGroup"])}, name
        assert int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0, name
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), name
        root = next(
            line.split() for line in Path(f"/proc/{pid}/mounts").read_text("utf-8").splitlines() if " / " in line
        )
        assert "ro" in root[3].split(","), name


@pytest.mark.usefixtures("jobs")
def test_pods_listen_at_their_ports_alone(pods: Pods) -> None:
    """What can be reached from outside a pod is what its specification names, and so what its Service has, or shut."""
    for name in _long_running(pods):
        declared = {port["containerPort"] for port in pods.container(name)["ports"]}
        assert _listens(pods.inspect(name)["State"]["Pid"]) == declared | SHUT.get(name, set()), name


def _listens(pid: int) -> set[int]:
    """Ports of other addresses than the loopback's."""
    found = set()
    for table, loopback in (("tcp", "0100007F"), ("tcp6", "00000000000000000000000001000000")):
        for line in Path(f"/proc/{pid}/net/{table}").read_text("utf-8").splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, port = local.split(":")
            # The engine's own name server listens at another address of the loopback.
            if state == LISTENING and address != loopback and not address.endswith("7F"):
                found.add(int(port, 16))
    return found


def test_what_no_pod_should_listen_at_is_shut(objects: list[Object]) -> None:
    """The policies of the store's network let no such port through."""
    (rule,) = named(objects, "NetworkPolicy")["artifacts"]["spec"]["ingress"]
    assert not SHUT["minio"] & {port["port"] for port in rule["ports"]}


@pytest.mark.usefixtures("jobs")
def test_a_replica_that_is_told_to_end_answers_what_it_computes(pods: Pods) -> None:
    """Though it is the only one, so that the gateway could ask no other."""
    trainer = pods.container("trainer")["image"]
    words = ("--env=MLFLOW_TRACKING_URI=http://mlflow-server:5000", "--entrypoint=python", trainer, "-")
    docker("run", "--rm", "--interactive", "--network=signet-pods-training", *words, stdin=SLOW)
    url = f"http://{pods.address('gateway')}:8080/predictions/slow"
    until("the slow model is served", lambda: _answer(url), timeout_s=120)
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(_answer, url)
        time.sleep(0.5)
        assert not asked.done()
        docker("stop", "--time=90", "signet-pods-torchserve")
        assert asked.done(), "the replica ends when it has answered"
        assert asked.result() == ANSWER
    docker("start", "signet-pods-torchserve")
    until("the replica is back", lambda: _answer(url) == ANSWER, timeout_s=120)


def _answer(url: str) -> Any:
    """The answer, or None while there is no prediction."""
    answer = requests.post(url, json={"inputs": [[1.0, 1.0]]}, timeout=100)
    return answer.json() if answer.ok else None


@pytest.mark.usefixtures("jobs")
def test_pods_end_by_themselves_in_time(pods: Pods) -> None:
    """Each ends when it is told to, before its grace period is over."""
    for name in ("gateway", "torchserve", "mlflow-server", "minio", "postgres"):
        grace_s = pod(pods.workloads[name])["terminationGracePeriodSeconds"]
        began = time.monotonic()
        docker("stop", f"--time={grace_s}", f"signet-pods-{name}")
        took_s = time.monotonic() - began
        # SeaweedFS is killed: what it has acknowledged outlives that.
        assert took_s < grace_s or name == "minio", name
        assert pods.inspect(name)["State"]["ExitCode"] == 0 or name == "minio", name
