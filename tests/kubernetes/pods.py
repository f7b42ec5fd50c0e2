"""Pods as containers of a Docker engine, with the flags that say there what a pod's specification says in a cluster.

All of them start at once and are started again until they do what they should, as a cluster has it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from facts import NETWORK, SHARED_MEMORY, variables
from manifests import WORKLOADS, Object, labels, named, pod

from testing.docker import docker

PREFIX = "signet-pods"
NAMESPACE = "signet"
_UNITS = {"Mi": "m", "Gi": "g"}


class Pods:
    """One container for each workload of the manifests.

    Args:
        objects: the manifests.
        secrets: content by key, by Secret.
        helper: an image with a shell, to prepare volumes by.
    """

    def __init__(self, objects: Sequence[Object], secrets: Mapping[str, Mapping[str, str]], helper: str) -> None:
        self.workloads = named(objects, *WORKLOADS)
        self._objects = objects
        self._secrets = secrets
        self._helper = helper

    def start(self) -> None:
        """Start all of them at once."""
        networks = {label for it in self.workloads.values() for label in labels(it) if label.startswith(NETWORK)}
        for label in networks:
            docker("network", "create", _network(label))
        for name, workload in self.workloads.items():
            self._create(name, workload)
        docker("start", *(f"{PREFIX}-{name}" for name in self.workloads))

    def inspect(self, name: str) -> dict[str, Any]:
        """What the engine knows of a workload's container."""
        (found,) = json.loads(docker("inspect", f"{PREFIX}-{name}"))
        assert isinstance(found, dict)
        return found

    def address(self, name: str) -> str:
        """An address of it."""
        networks = self.inspect(name)["NetworkSettings"]["Networks"]
        return str(next(iter(networks.values()))["IPAddress"])

    def container(self, name: str) -> Object:
        """Its specification."""
        container: Object = pod(self.workloads[name])["containers"][0]
        return container

    def _create(self, name: str, workload: Object) -> None:
        spec = pod(workload)
        volumes = self._volumes(name, workload)
        for container in spec.get("initContainers", []):
            docker("run", "--rm", "--network=none", *self._flags(spec, container, volumes))
        container = spec["containers"][0]
        first, *others = sorted(_network(label) for label in labels(workload) if label.startswith(NETWORK))
        aliases = [f"--network-alias={it}" for it in (name, f"{name}.{NAMESPACE}.svc.cluster.local")]
        docker(
            "create",
            f"--name={PREFIX}-{name}",
            f"--restart={'on-failure' if workload['kind'] == 'Job' else 'always'}",
            f"--network={first}",
            *aliases,
            *(["--init"] if spec.get("shareProcessNamespace") else []),
            *(f"--dns-option={it['name']}:{it['value']}" for it in spec.get("dnsConfig", {}).get("options", [])),
            *self._flags(spec, container, volumes),
        )
        for network in others:
            docker(
                "network",
                "connect",
                *(it.replace("--network-alias", "--alias") for it in aliases),
                network,
                f"{PREFIX}-{name}",
            )

    def _flags(self, spec: Object, container: Object, volumes: Mapping[str, str]) -> list[str]:
        """What comes between `docker run` and the end of its line."""
        security, rights = spec["securityContext"], container["securityContext"]
        limit = container["resources"]["limits"]["memory"]
        flags = [f"--user={security['runAsUser']}:{security['runAsGroup']}", f"--group-add={security['fsGroup']}"]
        flags += [f"--memory={limit[:-2]}{_UNITS[limit[-2:]]}"]
        flags += ["--read-only"] if rights["readOnlyRootFilesystem"] else []
        flags += [f"--cap-drop={it}" for it in rights["capabilities"]["drop"]]
        flags += [] if rights["allowPrivilegeEscalation"] else ["--security-opt=no-new-privileges"]
        # The engine's own profile is RuntimeDefault.
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        own, settings = variables(container, self._objects)
        for variable, value in {**settings, **own}.items():
            namespaced = value.replace("(metadata.namespace)", NAMESPACE).replace("$(NAMESPACE)", NAMESPACE)
            flags += ["--env", f"{variable}={namespaced}"]
        for mount in container.get("volumeMounts", []):
            flags += [_mounted(volumes[mount["name"]], mount)]
        command = container.get("command", [])
        flags += [f"--entrypoint={command[0]}"] if command else []
        return [*flags, container["image"], *command[1:], *container.get("args", [])]

    def _volumes(self, name: str, workload: Object) -> dict[str, str]:
        """A volume's own in the engine, or `memory` and its size, by its name in the pod."""
        spec = pod(workload)
        shared = {mount["name"] for it in spec.get("initContainers", []) for mount in it["volumeMounts"]}
        group = spec["securityContext"]["fsGroup"]
        found = {}
        for volume in [
            *spec.get("volumes", []),
            *(it["metadata"] for it in workload["spec"].get("volumeClaimTemplates", [])),
        ]:
            if volume.get("emptyDir", {}).get("medium") == "Memory" and volume["name"] not in shared:
                found[volume["name"]] = f"memory {volume['emptyDir'].get('sizeLimit', '')}"
                continue
            found[volume["name"]] = own = docker("volume", "create", f"{PREFIX}-{name}-{volume['name']}")
            if "secret" in volume:
                mode = f"{volume['secret']['defaultMode']:o}"
                content = self._secrets[volume["secret"]["secretName"]]
                script = "".join(
                    f"printf %s {shlex.quote(text)} >{key}; chmod {mode} {key};" for key, text in content.items()
                )
            else:
                script = f"chmod {'2777' if 'emptyDir' in volume else '2775'} .;"
            script = f"cd /volume; {script} chown --recursive root:{group} ."
            docker(
                "run",
                "--rm",
                "-i",
                "--network=none",
                f"--volume={own}:/volume",
                self._helper,
                "sh",
                "-eu",
                stdin=script,
            )
        return found


def _network(label: str) -> str:
    return f"{PREFIX}-{label.removeprefix(NETWORK)}"


def _mounted(volume: str, mount: Object) -> str:
    kind, _, size = volume.partition(" ")
    if kind != "memory":
        mode = ",readonly" if mount.get("readOnly") else ""
        # Without this the engine lays what the image has there into a new volume, and gives it the image's owner.
        return f"--mount=type=volume,source={volume},target={mount['mountPath']},volume-nocopy{mode}"
    if mount["mountPath"] == SHARED_MEMORY:
        return f"--shm-size={size[:-2]}{_UNITS[size[-2:]]}"
    return f"--tmpfs={mount['mountPath']}:mode=0777"


@contextmanager
def running(objects: Sequence[Object], secrets: Mapping[str, Mapping[str, str]], helper: str) -> Iterator[Pods]:
    """The pods from nothing; nothing of them is left behind."""
    _remove()
    pods = Pods(objects, secrets, helper)
    try:
        pods.start()
        yield pods
    finally:
        _remove()


def _remove() -> None:
    ours = f"--filter=name=^{PREFIX}-"
    for listed, removed in (
        (("ps", "--all", "--quiet", ours), ("rm", "--force", "--volumes")),
        (("volume", "ls", "--quiet", ours), ("volume", "rm")),
        (("network", "ls", "--quiet", ours), ("network", "rm")),
    ):
        if found := docker(*listed).split():
            docker(*removed, *found)
