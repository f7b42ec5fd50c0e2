"""What is so of a service, read from Compose's files or from Kubernetes' manifests, to be compared."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import yaml
from manifests import ROOT, WORKLOADS, Object, labels, named, pod

NETWORK = "network.signet/"
DEFAULT_STOP_S = 10  # Docker's
A_FILE = "a file of a person's own"
SHARED_MEMORY = "/dev/shm"  # noqa: S108 -- a container's
_UNITS = {"m": 2**20, "mb": 2**20, "g": 2**30, "gb": 2**30, "Mi": 2**20, "Gi": 2**30}


@dataclass(frozen=True)
class Facts:
    """What is compared; sizes are bytes, times seconds."""

    image: str
    arguments: tuple[str, ...]
    """In place of the image's own CMD."""
    user: str
    environment: Mapping[str, str]
    settings: frozenset[str]
    """Variables that a person sets."""
    volumes: Mapping[str, tuple[str, bool]]
    """Name by path, and whether it is read-only: data, and secrets."""
    in_memory: frozenset[str]
    """Paths that lie in memory."""
    shared_memory: int | None
    memory: int
    networks: frozenset[str]
    stop_s: int
    runs_once: bool
    has_init: bool
    """Whether another process than the service's own is the first, and takes those that are left behind."""
    root_is_read_only: bool
    capabilities: tuple[str, ...]
    """Those that are dropped."""
    gains_no_privileges: bool


FIELDS = tuple(field.name for field in fields(Facts))


def differences(compose: Mapping[str, Facts], kubernetes: Mapping[str, Facts]) -> dict[str, set[str]]:
    """Fields that are not alike, by service of Kubernetes'; there a pod has more settings than it reads."""
    found = {}
    for name, theirs in kubernetes.items():
        ours = compose[name]
        different = {field for field in FIELDS if getattr(ours, field) != getattr(theirs, field)}
        if ours.settings <= theirs.settings:
            different.discard("settings")
        if different:
            found[name] = different
    return found


# Compose --------------------------------------------------------------------------------------------------------------


def of_compose(*files: str) -> dict[str, Facts]:
    """Facts by service, of a file and what is laid over it."""
    services: dict[str, Object] = {}
    for file in files:
        for name, service in _services(file).items():
            services[name] = _laid_over(services.get(name, {}), service) if service else {}
    return {name: _of_service(service) for name, service in services.items() if service}


class _Loader(yaml.SafeLoader):
    """One for which `!override` is nothing, as it stands at what is not compared, and what is `!reset` is not there."""


def _overriding(loader: _Loader, node: yaml.Node) -> object:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    assert isinstance(node, yaml.SequenceNode)
    return loader.construct_sequence(node, deep=True)


_Loader.add_constructor("!override", _overriding)
_Loader.add_constructor("!reset", lambda *_: None)


def _services(file: str) -> dict[str, Object]:
    services = yaml.load((ROOT / file).read_text("utf-8"), _Loader)["services"]  # noqa: S506 -- a safe one
    found = {}
    for name, service in services.items():
        below = service and service.get("extends")
        found[name] = _laid_over(_services(below["file"])[below["service"]], service) if below else service
    return found


def _laid_over(below: Object, service: Object) -> Object:
    """One definition of a service over another, as Compose merges them."""
    targets = {_mount(it)[1]: it for it in [*below.get("volumes", []), *service.get("volumes", [])]}
    mappings = {key: {**below.get(key, {}), **service.get(key, {})} for key in ("build", "environment")}
    return {**below, **service, **mappings, "volumes": list(targets.values())}


def _of_service(service: Object) -> Facts:
    environment = {name: str(value) for name, value in service.get("environment", {}).items()}
    settings = {name for name, value in environment.items() if value.startswith("${")}
    mounts = [_mount(it) for it in service["volumes"]]
    return Facts(
        image=service["image"],
        arguments=tuple(service.get("command", ())),
        user=service.get("user") or _user_of_image(service["build"]["dockerfile"]),
        environment={name: value for name, value in environment.items() if name not in settings},
        settings=frozenset(settings),
        volumes={target: (source, is_read_only) for source, target, is_read_only in mounts},
        in_memory=frozenset(it.partition(":")[0] for it in service.get("tmpfs", ())),
        shared_memory=_bytes(service["shm_size"]) if "shm_size" in service else None,
        memory=_bytes(service["mem_limit"]),
        networks=frozenset(service.get("networks", ())),
        stop_s=int(str(service.get("stop_grace_period", DEFAULT_STOP_S)).removesuffix("s")),
        runs_once=service["restart"] == "no",
        has_init=service.get("init", False),
        root_is_read_only=service["read_only"],
        capabilities=tuple(service["cap_drop"]),
        gains_no_privileges="no-new-privileges:true" in service["security_opt"],
    )


def _mount(volume: str | Object) -> tuple[str, str, bool]:
    """Source, target, and whether it is read-only."""
    if isinstance(volume, dict):
        return A_FILE, volume["target"], volume["read_only"]
    source, target, *mode = volume.split(":")
    return source, target, mode == ["ro"]


def _user_of_image(dockerfile: str) -> str:
    return re.findall(r"^USER (.*)$", (ROOT / dockerfile).read_text("utf-8"), re.MULTILINE)[-1]


def _bytes(size: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(\w+)", size).groups()  # type: ignore[union-attr]  # one that does not match fails the test
    return int(number) * _UNITS[unit]


# Kubernetes -----------------------------------------------------------------------------------------------------------


def of_manifests(objects: Sequence[Object]) -> dict[str, Facts]:
    """Facts by workload."""
    return {name: _of_workload(workload, objects) for name, workload in named(objects, *WORKLOADS).items()}


def _of_workload(workload: Object, objects: Sequence[Object]) -> Facts:
    spec = pod(workload)
    (container,) = spec["containers"]
    assert "command" not in container, "the image's own entrypoint runs"
    security, rights = spec["securityContext"], container["securityContext"]
    environment, settings = variables(container, objects)
    found, in_memory, shared_memory = _volumes(workload)
    sleep_s = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    return Facts(
        image=container["image"],
        arguments=tuple(container.get("args", ())),
        user=f"{security['runAsUser']}:{security['runAsGroup']}",
        environment=environment,
        settings=frozenset(settings),
        volumes=found,
        in_memory=in_memory,
        shared_memory=shared_memory,
        memory=_bytes(container["resources"]["limits"]["memory"]),
        networks=frozenset(label.removeprefix(NETWORK) for label in labels(workload) if label.startswith(NETWORK)),
        stop_s=spec["terminationGracePeriodSeconds"] - sleep_s,
        runs_once=workload["kind"] == "Job",
        has_init=spec.get("shareProcessNamespace", False),
        root_is_read_only=rights["readOnlyRootFilesystem"],
        capabilities=tuple(rights["capabilities"]["drop"]),
        gains_no_privileges=not rights["allowPrivilegeEscalation"],
    )


def variables(container: Object, objects: Sequence[Object]) -> tuple[dict[str, str], dict[str, str]]:
    """A container's own variables, and those that it has of ConfigMaps."""
    maps = named(objects, "ConfigMap")
    settings = {}
    for source in container.get("envFrom", []):
        settings.update(maps[source["configMapRef"]["name"]]["data"])
    own = {}
    for variable in container.get("env", []):
        path = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        own[variable["name"]] = f"({path})" if path else variable["value"]
    return own, {name: value for name, value in settings.items() if name not in own}


def _volumes(workload: Object) -> tuple[dict[str, tuple[str, bool]], frozenset[str], int | None]:
    """Volumes that keep something or hold secrets, those in memory, and the size of the shared memory."""
    spec = pod(workload)
    (container,) = spec["containers"]
    claims = [it["metadata"]["name"] for it in workload["spec"].get("volumeClaimTemplates", [])]
    declared = {**{it["name"]: it for it in spec.get("volumes", [])}, **{name: {} for name in claims}}
    kept, in_memory, shared_memory = {}, set(), None
    for mount in container.get("volumeMounts", []):
        volume, path = declared[mount["name"]], mount["mountPath"]
        is_read_only = mount.get("readOnly", False)
        if secret := _secret(volume, spec):
            kept[path] = (secret, is_read_only)
        elif "configMap" in volume:
            kept[path] = (A_FILE, is_read_only)
        elif volume.get("emptyDir", {}).get("medium") != "Memory":
            kept[path] = (mount["name"], is_read_only)
        elif path == SHARED_MEMORY:
            shared_memory = _bytes(volume["emptyDir"]["sizeLimit"])
        else:
            in_memory.add(path)
    return kept, frozenset(in_memory), shared_memory


def _secret(volume: Object, spec: Object) -> str | None:
    """The Secret that a volume holds, or that an init container lays into it."""
    if "secret" in volume:
        return str(volume["secret"]["secretName"])
    for container in spec.get("initContainers", []):
        mounted = [mount["name"] for mount in container["volumeMounts"]]
        if volume.get("name") in mounted:
            secrets = {it["name"]: it["secret"]["secretName"] for it in spec["volumes"] if "secret" in it}
            (name,) = (secrets[other] for other in mounted if other in secrets)
            return str(name)
    return None
