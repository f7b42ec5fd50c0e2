"""What holds for every way to start the containers, read from the merged configuration."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import yaml

from testing.repository import ROOT

CPU = ("docker-compose.yml",)
SEAWEEDFS = ("docker-compose.yml", "docker-compose.seaweedfs.yml")
GPU = ("docker-compose.gpu.yml",)
SERVING = ("docker-compose.serving.yml",)
WAYS = pytest.mark.parametrize("files", [CPU, SEAWEEDFS, GPU], ids=["cpu", "seaweedfs", "gpu"])
PUBLIC = ("docker-compose.yml", "docker-compose.public.yml", "--profile=signet")
EVERY = pytest.mark.parametrize(
    "files", [CPU, SEAWEEDFS, GPU, SERVING, PUBLIC], ids=["cpu", "seaweedfs", "gpu", "serving", "public"]
)
Read = Callable[..., dict[str, Any]]


@EVERY
def test_every_container_is_confined(configuration: Read, files: tuple[str, ...]) -> None:
    """No capability, no new privilege, a read-only root and a memory limit: nobody is an exception."""
    for name, service in configuration(*files)["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert int(service["mem_limit"]) > 0, name
        assert not service.get("privileged"), name
        assert service["logging"]["options"]["max-size"], name


@EVERY
def test_nobody_is_root(configuration: Read, files: tuple[str, ...]) -> None:
    """A fixed uid comes from Compose, or else from the last USER of the image's Dockerfile."""
    for name, service in configuration(*files)["services"].items():
        user = service.get("user")
        if user is None:
            dockerfile = (ROOT / service["build"]["dockerfile"]).read_text()
            user = re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE)[-1]
        uid, _, gid = user.partition(":")
        assert int(uid) > 0, name
        assert int(gid) > 0, name


@WAYS
def test_only_two_ports_are_published_and_only_on_loopback(configuration: Read, files: tuple[str, ...]) -> None:
    """MLflow's and the predictions'; .env moves them."""
    services = configuration(*files, MLFLOW_PORT="15000", TORCHSERVE_PORT="18080")["services"]
    published = {
        (name, port["host_ip"], port["published"], port["target"])
        for name, service in services.items()
        for port in service.get("ports", [])
    }
    assert published == {
        ("mlflow-server", "127.0.0.1", "15000", 5000),
        ("gateway", "127.0.0.1", "18080", 8080),
    }


@WAYS
def test_who_can_talk_to_whom(configuration: Read, files: tuple[str, ...]) -> None:
    """Two services reach each other only through a network that both join."""
    members: dict[str, set[str]] = {}
    for name, service in configuration(*files)["services"].items():
        for network in service.get("networks", {}):
            members.setdefault(network, set()).add(name)
    assert members == {
        "database": {"postgres", "postgres-setup", "mlflow-server"},
        "artifacts": {"minio", "minio-setup", "mlflow-server"},
        "registry": {"mlflow-server", "torchserve"},
        "deployment": {"mlflow-server", "client"},
        "training": {"mlflow-server", "trainer"},
        "serving": {"torchserve", "gateway"},
        "predictions": {"gateway", "client"},
    }


@WAYS
def test_no_password_has_a_default(configuration: Read, files: tuple[str, ...]) -> None:
    """With no .env every password is empty in the configuration, and only `secrets` is told one that is set."""
    variables = ("POSTGRES_PASSWORD", "MINIO_ROOT_PASSWORD", "S3_SECRET_KEY")
    services = configuration(*files)["services"]
    assert [services["secrets"]["environment"][name] for name in variables] == [""] * 3
    told = configuration(*files, **dict.fromkeys(variables, "sesame-sesame"))["services"]
    assert {name for name, service in told.items() if "sesame" in json.dumps(service)} == {"secrets"}


@WAYS
def test_every_secret_is_read_only_and_reaches_its_reader_only(configuration: Read, files: tuple[str, ...]) -> None:
    """One volume per reader; only the one-shot that makes them writes."""
    readers: dict[str, set[str]] = {}
    for name, service in configuration(*files)["services"].items():
        for volume in service.get("volumes", []):
            if "secrets" in str(volume.get("source")) and name != "secrets":
                assert volume["read_only"] is True, name
                readers.setdefault(volume["source"], set()).add(name)
    assert readers == {
        "postgres-secrets": {"postgres", "postgres-setup"},
        "minio-secrets": {"minio", "minio-setup"},
        "mlflow-server-secrets": {"mlflow-server"},
    }


@EVERY
def test_dependencies_and_health(configuration: Read, files: tuple[str, ...]) -> None:
    """What keeps running has a health check and is awaited healthy; a job is awaited until it has succeeded."""
    services = configuration(*files)["services"]
    jobs = {name for name, service in services.items() if service["restart"] == "no"}
    for name, service in services.items():
        assert (name in jobs) == ("healthcheck" not in service), name
        for other, dependency in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if other in jobs else "service_healthy"
            assert dependency["condition"] == expected, f"{name} -> {other}"


def test_the_serving_half_reaches_out_and_is_reached_at_one_port(configuration: Read) -> None:
    """Two networks lead out, to MLflow; TorchServe's own does not, and only the gateway has a port of this machine."""
    document = configuration(*SERVING, "--profile=client")
    services = document["services"]
    members = {
        name: {it for it in services if name in services[it].get("networks", {})} for name in document["networks"]
    }
    assert members == {
        "registry": {"torchserve"},
        "deployment": {"client"},
        "serving": {"torchserve", "gateway"},
        "predictions": {"gateway", "client"},
    }
    assert {name for name, network in document["networks"].items() if network.get("internal")} == {"serving"}
    ports = [(name, port["host_ip"]) for name, service in services.items() for port in service.get("ports", [])]
    assert ports == [("gateway", "127.0.0.1")]


def test_the_door_is_the_one_way_in_from_a_network(configuration: Read) -> None:
    """One port more than without it, on every address unless a setting says one; the gateway writes no file of it."""
    own, document = configuration(*CPU)["services"], configuration(*PUBLIC)
    services = document["services"]
    ports = {
        (name, port.get("host_ip"), port["published"], port["target"])
        for name, service in services.items()
        for port in service.get("ports", [])
        if port not in own.get(name, {}).get("ports", [])
    }
    assert ports == {("gateway", None, "8443", 8443)}
    assert services["gateway"]["depends_on"]["door"]["condition"] == "service_completed_successfully"
    assert {name for name in own if own[name] != services[name]} == {"gateway"}
    mounts = {
        (name, bool(volume.get("read_only")))
        for name, service in services.items()
        for volume in service.get("volumes", [])
        if volume["source"] == "door"
    }
    assert mounts == {("door", False), ("signet", False), ("gateway", True)}
    assert {services[name]["network_mode"] for name in ("door", "signet")} == {"none"}
    moved = configuration(*PUBLIC, SIGNET_PUBLIC_PORT="192.0.2.1:443")["services"]["gateway"]["ports"]
    assert ("192.0.2.1", "443") in {(port.get("host_ip"), port["published"]) for port in moved}


def test_what_signs_in_elsewhere_comes_in_files(configuration: Read) -> None:
    """Only the one-shot that writes them is told a password, a token or a key; each reader has a volume of its own."""
    variables = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    services = configuration(*SERVING, "--profile=client", **dict.fromkeys(variables, "sesame"))["services"]
    assert {name for name, service in services.items() if "sesame" in json.dumps(service)} == {"secrets"}
    for name in ("torchserve", "client"):
        files = {
            it["target"] for it in services[name]["volumes"] if it["source"] == f"{name}-secrets" and it["read_only"]
        }
        assert files == {f"/run/secrets/{name}"}
        environment = services[name]["environment"]
        assert environment["MLFLOW_TRACKING_PASSWORD_FILE"] == f"/run/secrets/{name}/mlflow_password"


def test_accounts_differ_in_what_signs_in(configuration: Read) -> None:
    """The services have an account each and its password in a file; nothing else of them changes."""
    plain = deepcopy(configuration(*CPU)["services"])
    other = deepcopy(configuration(*CPU, "compose/accounts.yml")["services"])
    for name, account in {"trainer": "trainer", "torchserve": "controller", "client": "client"}.items():
        environment = other[name]["environment"]
        assert environment.pop("MLFLOW_TRACKING_USERNAME") == account
        assert environment.pop("MLFLOW_TRACKING_PASSWORD_FILE") == f"/run/secrets/{name}/mlflow_password"
        (volume,) = [it for it in other[name]["volumes"] if it["source"] == f"{name}-secrets"]
        assert volume["read_only"]
        other[name]["volumes"].remove(volume)
        plain[name].setdefault("volumes", [])
    assert other["mlflow-server"]["environment"].pop("SIGNET_ACCOUNTS_FILE").startswith("/run/secrets/mlflow-server/")
    assert {name for name in plain if plain[name] != other[name]} == {"secrets"}


def test_mlflow_opens_at_the_gateway_and_nowhere_else(configuration: Read) -> None:
    """Where both are public, the gateway alone has ports of a network, and reaches MLflow."""
    files = (*PUBLIC, "compose/accounts.yml")
    plain = configuration(*files)["services"]["gateway"]
    services = configuration(*files, "compose/public-mlflow.yml")["services"]
    opened = [
        (name, it["target"])
        for name, service in services.items()
        for it in service.get("ports", [])
        if "host_ip" not in it
    ]
    assert sorted(opened) == [("gateway", 8443), ("gateway", 8444)]
    assert set(services["gateway"]["networks"]) - set(plain["networks"]) == {"deployment"}
    assert services["gateway"]["command"] == [*plain["command"], "-f", "/usr/local/etc/haproxy/mlflow.cfg"]


def test_gpu_differs_in_nothing_but_gpus(configuration: Read) -> None:
    """The CPU file is the single source: image, build arguments and devices of two services are all that differs."""
    cpu, gpu = configuration(*CPU), deepcopy(configuration(*GPU))
    for name in ("trainer", "torchserve"):
        service: dict[str, Any] = gpu["services"][name]
        plain: dict[str, Any] = cpu["services"][name]
        assert service["image"] == f"{plain['image']}-cuda"
        assert service["build"].pop("args") == {"TORCH_INDEX": ""}
        (device,) = service.pop("deploy")["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "count": -1, "capabilities": ["gpu"]}
        service["image"] = plain["image"]
    anchors = {key for key in cpu if key.startswith("x-")}
    assert {key: value for key, value in gpu.items() if key not in anchors} == {
        key: value for key, value in cpu.items() if key not in anchors
    }


def test_seaweedfs_differs_in_nothing_but_the_store(configuration: Read) -> None:
    """Nobody but the store and its setup can tell which product runs."""
    cpu, other = configuration(*CPU)["services"], configuration(*SEAWEEDFS)["services"]
    assert {name for name in cpu if cpu[name] != other[name]} == {"minio", "minio-setup"}


def test_gateway_agrees_with_torchserve() -> None:
    """The gateway refuses the bodies that TorchServe would, and waits longer for an answer than TorchServe does."""
    properties = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / "config.properties").read_text(), re.MULTILINE))
    gateway, door = ((ROOT / "gateway" / name).read_text() for name in ("haproxy.cfg", "public.cfg"))
    for text in (gateway, door):
        assert re.findall(r"req\.hdr\(content-length\) -m int gt (\d+)", text) == [properties["max_request_size"]]
    shared = ("wait-for-body", "set-header X-Signet-Request", "use_backend", "default_backend")
    for start in shared:
        (line,) = [line for line in door.splitlines() if start in line]
        asked = line.removesuffix(" if is_let_in")
        assert asked in gateway.splitlines(), "the door asks the replicas as the frontend `predictions` does"
    head, body = (ROOT / "gateway" / "413.http").read_bytes().split(b"\r\n\r\n")
    assert f"more than {properties['max_request_size']} bytes" in body.decode()
    assert f"content-length: {len(body)}" in head.decode()
    (timeout_s,) = re.findall(r"timeout server (\d+)s", gateway)
    deadlines = (ROOT / "services" / "torchserve" / "src" / "signet_torchserve" / "deadlines.py").read_text()
    (longest_s,) = re.findall(r"^MAX_TIMEOUT_S = (\d+)", deadlines, re.MULTILINE)
    (wait_s,) = re.findall(r"WAIT_S = (\d+)", (ROOT / "gateway" / "waiting.lua").read_text())
    assert int(timeout_s) > int(longest_s) + int(wait_s)


def test_env_example_lists_every_variable_without_a_value() -> None:
    """What the Compose files interpolate is what .env.example documents."""
    files = (*ROOT.glob("docker-compose*.yml"), *ROOT.glob("compose/*.yml"))
    used = {name for file in files for name in re.findall(r"\$\{(\w+)", file.read_text())}
    lines = [line for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    assert {line.removesuffix("=") for line in lines} == used


@WAYS
def test_no_proxy_stands_between_containers(configuration: Read, files: tuple[str, ...]) -> None:
    """Whoever calls another container by HTTP does so directly, whatever proxy Docker's configuration names."""
    services = configuration(*files)["services"]
    callers = {name for name, service in services.items() if not {"database", None} >= set(service.get("networks", {}))}
    assert callers == {"minio", "minio-setup", "mlflow-server", "trainer", "torchserve", "gateway", "client"}
    for name in callers - {"gateway"}:  # HAProxy knows no proxies
        environment = services[name]["environment"]
        assert (environment["NO_PROXY"], environment["no_proxy"]) == ("*", "*"), name


@WAYS
def test_every_setting_reaches_the_services_that_read_it(configuration: Read, files: tuple[str, ...]) -> None:
    """A setting that Compose and a service read: what .env says is in that service's environment."""
    pages = "".join((ROOT / "docs" / page).read_text() for page in ("settings.md", "cleverness.md"))
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| .*? \| .*? \| (.*?) \|$", pages, re.MULTILINE)
    settings = {name: readers.split(", ")[1:] for name, readers in rows if readers.startswith("Compose, ")}
    settings = {name: [reader for reader in readers if reader != "embedded"] for name, readers in settings.items()}
    assert {"SIGNET_ALIAS", "MLFLOW_SERVER_ALLOWED_HOSTS"} <= settings.keys()
    said = {name: f"{name}-of-env" for name in settings if not name.endswith("_PORT")}
    services = configuration(*files, **said)["services"]
    for name, readers in settings.items():
        for reader in readers:
            assert services[reader]["environment"][name] == said[name], f"{name} in {reader}"


def test_no_mode_of_a_file_in_a_clone_matters() -> None:
    """A clone under `umask 077` comes up: images give what they copy a mode, and nothing is mounted from the clone."""
    tracked = subprocess.run(["git", "ls-files", "*Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=True)
    for dockerfile in tracked.stdout.split():
        final = re.split(r"^FROM ", (ROOT / dockerfile).read_text(), flags=re.MULTILINE)[-1]
        copies = [line for line in final.splitlines() if line.startswith("COPY ") and "--from=" not in line]
        assert [line for line in copies if "--chmod=" not in line and not line.endswith(" /tmp/")] == [], dockerfile
    for file in (*SEAWEEDFS, "compose/gpu.yml"):
        for name, service in yaml.safe_load((ROOT / file).read_text())["services"].items():
            mounts = [str(volume) for volume in service.get("volumes", [])]
            assert [mount for mount in mounts if mount.startswith((".", "/"))] == [], f"{file}: {name}"


def test_images_are_tagged_with_a_version() -> None:
    """No image is `latest`, neither by name nor by default."""
    for file in (*SEAWEEDFS, "compose/gpu.yml"):
        for name, service in yaml.safe_load((ROOT / file).read_text())["services"].items():
            assert re.search(r":\d", service["image"]), f"{file}: {name}"
