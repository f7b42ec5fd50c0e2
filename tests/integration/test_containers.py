"""What only containers promise: walls between them, secrets, limits, and what is published."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import pytest
import requests
import torch
from mlflow.models import infer_signature

from testing.polling import until
from testing.ports import free_port
from testing.repository import ALIAS, ROOT, SAMPLES

if TYPE_CHECKING:
    from compose_stack import ComposeStack
    from mlflow import MlflowClient

pytestmark = pytest.mark.compose

LONG_RUNNING = ("postgres", "minio", "mlflow-server", "torchserve", "gateway")
JOBS = ("secrets", "postgres-setup", "minio-setup", "trainer", "client")
PUBLISHED = {"mlflow-server": 5000, "gateway": 8080}
_CONNECT = """
import socket
from concurrent.futures import ThreadPoolExecutor
targets = {targets!r}
def is_open(target):
    host, port = target.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        return False
    return True
# At once: what is walled off says nothing, and takes the whole of the 2 s.
print([target for target, opened in zip(targets, ThreadPoolExecutor(len(targets)).map(is_open, targets)) if opened])
"""


def _reached(compose: ComposeStack, service: str, *targets: str) -> list[str]:
    """Which of the addresses accept a connection from a new container of the service."""
    done = compose.python(service, _CONNECT.format(targets=list(targets)))
    assert done.returncode == 0, done.stderr
    reached = json.loads(done.stdout.replace("'", '"'))
    assert isinstance(reached, list)
    return reached


def test_client_reaches_predictions_and_registry_only(compose: ComposeStack) -> None:
    """From the client's container neither database nor store nor TorchServe itself can be reached."""
    meant = ["gateway:8080", "mlflow-server:5000"]
    walled = ["gateway:8090", "postgres:5432", "minio:9000", "minio:8333"]
    walled += [f"torchserve:{port}" for port in (7070, 7071, 8080, 8081, 8082, 8083)]
    assert _reached(compose, "client", *meant, *walled) == meant


def test_addresses_are_no_way_around(compose: ComposeStack) -> None:
    """Names aside, the containers' addresses can't be reached from the client either."""
    targets = []
    ports = {"postgres": [5432], "minio": [9000], "mlflow-server": [5000], "torchserve": [8080, 8081, 8082, 8083]}
    for service, numbers in ports.items():
        networks = compose.inspect(service)["NetworkSettings"]["Networks"]
        walled = [network for name, network in networks.items() if not name.endswith("_deployment")]
        targets += [f"{network['IPAddress']}:{port}" for network in walled for port in numbers]
    assert _reached(compose, "client", *targets) == []


def test_trainer_reaches_mlflow_only(compose: ComposeStack) -> None:
    """The trainer needs no database and no store: MLflow proxies both."""
    assert _reached(compose, "trainer", "mlflow-server:5000", "postgres:5432", "minio:9000") == ["mlflow-server:5000"]


_SPEAK_GRPC = """
import socket, ssl
hello = b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" + bytes(3) + b"\\4" + bytes(5)
tls = ssl._create_unverified_context()
tls.set_alpn_protocols(["h2"])
for wrap in (lambda plain: plain, tls.wrap_socket):
    try:
        with wrap(socket.create_connection(("minio", 19000), timeout=5)) as connection:
            connection.sendall(hello)
            print(connection.recv(9))
    except OSError as error:  # of TLS, too
        print(b"")
"""


def test_the_store_makes_no_users_for_others(compose: ComposeStack) -> None:
    """SeaweedFS makes users at a gRPC port beside S3's, which it can't close: nobody has the certificate for it."""
    assert compose.python("mlflow-server", _SPEAK_GRPC).stdout.split() == ["b''", "b''"]


def test_published_ports(compose: ComposeStack) -> None:
    """Only MLflow and the predictions are published, on 127.0.0.1 only."""
    for service in LONG_RUNNING:
        bindings: dict[str, list[dict[str, str]] | None] = compose.inspect(service)["NetworkSettings"]["Ports"]
        open_ports = {port: binding for port, binding in bindings.items() if binding}
        expected = {f"{PUBLISHED[service]}/tcp"} if service in PUBLISHED else set()
        assert set(open_ports) == expected, service
        assert {entry["HostIp"] for binding in open_ports.values() for entry in binding or ()} <= {"127.0.0.1"}


@pytest.mark.parametrize("service", [*LONG_RUNNING, *JOBS])
def test_limits(compose: ComposeStack, service: str) -> None:
    """Each container runs as a user, without capabilities or new privileges, and with a root that can't be written."""
    container = compose.inspect(service)
    host = container["HostConfig"]
    assert container["Config"]["User"].partition(":")[0] not in {"", "0", "root"}
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["ReadonlyRootfs"] is True
    assert host["Privileged"] is False
    assert not [mount for mount in container["Mounts"] if "docker.sock" in mount["Source"]]


@pytest.mark.parametrize("service", LONG_RUNNING)
def test_processes_have_no_privileges(compose: ComposeStack, service: str) -> None:
    """The kernel agrees: no process of a service is root's or has a capability."""
    # A health check that only begins still is the engine's own; it has gone, or is what it will be, when asked again.
    before, after = compose.processes(service), compose.processes(service)
    for pid, command in ((pid, after[pid]) for pid in before.keys() & after.keys()):
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:  # noqa: PTH123 -- /proc
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        assert "0" not in status["Uid"].split(), command
        assert int(status["CapEff"], 16) == 0, command
        assert int(status["CapPrm"], 16) == 0, command
        assert status["NoNewPrivs"] == "1", command


def test_health_and_restart(compose: ComposeStack) -> None:
    """Every long-running service has a health check that passes now, and is started again when it dies."""
    for service in LONG_RUNNING:
        container = compose.inspect(service)
        assert container["State"]["Health"]["Status"] == "healthy", service
        assert container["HostConfig"]["RestartPolicy"]["Name"] in {"unless-stopped", "always", "on-failure"}, service


def test_jobs_ended_well(compose: ComposeStack) -> None:
    """Every job of the first `up` has ended with 0."""
    codes = {job: compose.inspect(job)["State"] for job in JOBS}
    assert {job: (state["Status"], state["ExitCode"]) for job, state in codes.items()} == dict.fromkeys(
        JOBS, ("exited", 0)
    )


def _secrets(compose: ComposeStack) -> dict[str, str]:
    """Every secret by its file, read as root from the volumes."""
    found: dict[str, str] = {}
    volumes = [name for name in compose.config()["volumes"] if name.endswith("-secrets")]
    assert volumes
    mounts = [f"--volume={compose.config()['volumes'][name]['name']}:/secrets/{name}:ro" for name in volumes]
    code = (
        "import json, pathlib; root = pathlib.Path('/secrets');"
        "print(json.dumps({str(path): path.read_text() for path in root.rglob('*') if path.is_file()}))"
    )
    image = compose.config()["services"]["secrets"]["image"]
    command = ["docker", "run", "--rm", "--user=0", "--network=none", *mounts, "--entrypoint=python", image, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    found.update(json.loads(done.stdout))
    return found


def test_secrets_are_random_and_nowhere_else(compose: ComposeStack) -> None:
    """Passwords are long and random, and stand in no container's environment, command line or log."""
    secrets = _secrets(compose)
    passwords = {value for path, value in secrets.items() if path.endswith(("password", "secret_key"))}
    assert len(passwords) >= 4
    assert all(len(value) >= 20 for value in passwords)
    logs = compose.compose("logs", "--no-color", check=True).stdout
    for service in (*LONG_RUNNING, *JOBS):
        container = compose.inspect(service)
        seen = json.dumps([container["Config"], container["Args"], container["HostConfig"]]) + logs
        assert not [value for value in passwords if value in seen], service
    for service in LONG_RUNNING:
        commands = " ".join(compose.processes(service).values())
        assert not [value for value in passwords if value in commands], service


def test_secrets_reach_their_readers_only(compose: ComposeStack) -> None:
    """Each service mounts its own secrets and no others; client, trainer and TorchServe mount none."""
    readers: dict[str, set[str]] = {}
    for service, definition in compose.config()["services"].items():
        mounted = {mount["source"] for mount in definition.get("volumes", []) if mount["type"] == "volume"}
        readers[service] = {name for name in mounted if name.endswith("-secrets")}
        if service != "secrets":
            assert all(mount["read_only"] for mount in definition.get("volumes", []) if "secrets" in mount["source"])
    assert readers["client"] == readers["trainer"] == readers["torchserve"] == set()
    assert readers["postgres"] == readers["postgres-setup"] == {"postgres-secrets"}
    assert readers["minio"] == readers["minio-setup"] == {"minio-secrets"}
    assert readers["mlflow-server"] == {"mlflow-server-secrets"}


def test_secret_files_are_private(compose: ComposeStack) -> None:
    """No secret can be read by others than its owner and one group."""
    code = "import os,pathlib;print([oct(p.stat().st_mode & 0o007) for p in pathlib.Path('/run/secrets').rglob('*')])"
    done = compose.python("mlflow-server", code)
    assert done.returncode == 0, done.stderr
    modes = set(json.loads(done.stdout.replace("'", '"')))
    assert modes == {"0o0"}


def test_store_key_reaches_its_bucket_only(compose: ComposeStack) -> None:
    """With the MLflow server's key the bucket `mlflow` can be used, and another bucket can't be made or listed."""
    code = """
import boto3, botocore, os
s3 = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
s3.put_object(Bucket="mlflow", Key="probe", Body=b"x")
s3.delete_object(Bucket="mlflow", Key="probe")
for name, call in {
    "make": lambda: s3.create_bucket(Bucket="other"),
    "list": lambda: s3.list_objects_v2(Bucket="other"),
    "write": lambda: s3.put_object(Bucket="other", Key="x", Body=b"x"),
}.items():
    try:
        call()
        print(name, "allowed")
    except botocore.exceptions.ClientError as error:
        print(name, error.response["ResponseMetadata"]["HTTPStatusCode"])
"""
    done = compose.python("mlflow-server", code)
    assert done.returncode == 0, done.stderr
    answers = dict(line.split() for line in done.stdout.splitlines())
    assert set(answers) == {"make", "list", "write"}
    assert set(answers.values()) <= {"403", "404"}, answers


def test_value_in_env_file_wins(compose: ComposeStack) -> None:
    """A password in .env replaces the random one, and the stack goes on with it."""
    chosen = "chosen-by-a-person-in-.env"
    env = {"POSTGRES_PASSWORD": chosen}
    before = _secrets(compose)
    compose.compose("up", "--detach", "--wait", "mlflow-server", env=env, check=True)
    try:
        pgpass = next(value for path, value in _secrets(compose).items() if path.endswith("pgpass"))
        assert pgpass.rstrip("\n").endswith(f":{chosen}")
        assert before != _secrets(compose)
        probe = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:5000/health').read().decode())"
        done = compose.compose("exec", "-T", "mlflow-server", "python", "-c", probe)
        assert done.stdout.strip() == "OK", done.stderr
        search = f"{compose.mlflow_url}/api/2.0/mlflow/experiments/search?max_results=1"
        answer = subprocess.run(["curl", "-sf", search], capture_output=True, text=True, check=False, timeout=30)
        assert '"experiments"' in answer.stdout, "MLflow reads its database with the new password"
    finally:
        compose.compose("up", "--detach", "--wait", "mlflow-server", check=True)


def test_gpu_file_is_one_command(tmp_path: Any) -> None:
    """`docker compose -f docker-compose.gpu.yml` is the whole stack, with GPUs for trainer and TorchServe."""
    (tmp_path / "empty.env").touch()
    command = ["docker", "compose", "--env-file", str(tmp_path / "empty.env"), "-f", "docker-compose.gpu.yml"]
    done = subprocess.run(
        [*command, "config", "--format", "json"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    assert set(services) >= {*LONG_RUNNING, *JOBS}
    with_gpu = {
        name for name, service in services.items() if any("gpu" in d["capabilities"] for d in _devices(service))
    }
    assert with_gpu == {"trainer", "torchserve"}
    assert services["trainer"]["image"] != "signet/trainer:0.1.0", "the GPU builds have names of their own"


def _devices(service: dict[str, Any]) -> list[dict[str, Any]]:
    reservations = service.get("deploy", {}).get("resources", {}).get("reservations", {})
    devices = reservations.get("devices", [])
    assert isinstance(devices, list)
    return devices


def test_port_taken(compose: ComposeStack) -> None:
    """Ports move by .env's two settings: another project's config shows them on 127.0.0.1."""
    port = free_port()
    done = compose.compose("config", "--format", "json", env={"TORCHSERVE_PORT": str(port)}, check=True)
    (published,) = json.loads(done.stdout)["services"]["gateway"]["ports"]
    assert (published["host_ip"], published["published"], published["target"]) == ("127.0.0.1", str(port), 8080)


class Table(torch.nn.Module):
    """As large as a test wants it."""

    def __init__(self, mib: int) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.zeros(mib << 8, 1024))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.table[0, :1]


def test_a_full_container_refuses_another_model(compose: ComposeStack, registry: MlflowClient, url: str) -> None:
    """A version that the limit has no room for is refused with the figures, and served when there is room."""
    free = "from signet_torchserve.memory import free_mib; print(int(free_mib()))"
    told = compose.compose("exec", "-T", "torchserve", "python", "-c", free, check=True).stdout
    limit_mib = int(compose.inspect("torchserve")["HostConfig"]["Memory"] >> 20)
    example = np.ones((2, 1), np.float32)
    mlflow.set_tracking_uri(compose.mlflow_url)
    mlflow.pytorch.log_model(
        Table(192).eval(),
        registered_model_name="table",
        signature=infer_signature(example, example),
        input_example=example,
        pip_requirements=["torch"],
    )
    _limit(compose, limit_mib - int(told) + 128 + 100)
    try:
        registry.set_registered_model_alias("table", ALIAS, "1")
        until("it is refused", lambda: _said(registry).get("serving.status") == "refused", timeout_s=60)
        reason = _said(registry)["serving.reason"]
        assert re.search(r"needs 2\d\d MiB, and 1?\d?\d MiB are free", reason), reason
        assert requests.put(url, (SAMPLES / "sample.json").read_bytes(), timeout=10).text == "SETOSA"
        _limit(compose, limit_mib)
        until("it is served", lambda: _said(registry).get("serving.status") == "ready", timeout_s=60)
        assert 192 < int(_said(registry)["serving.memory_mib"]) < 300
    finally:
        _limit(compose, limit_mib)
        registry.delete_registered_model("table")


def _said(registry: MlflowClient) -> dict[str, str]:
    tags: dict[str, str] = registry.get_model_version("table", "1").tags
    return tags


def _limit(compose: ComposeStack, mib: int) -> None:
    """Change the memory that TorchServe's container may take, as long as it runs."""
    container = compose.containers()["torchserve"]
    command = ["docker", "update", f"--memory={mib}m", f"--memory-swap={mib}m", container]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
