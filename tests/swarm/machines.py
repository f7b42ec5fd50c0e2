"""Machines for a Swarm: Docker engines on one switch, each with a network, processes, mounts and a hostname of its own.

All of it hangs on processes that end with this one, however it ends; a machine's processes, mounts, bridges and
firewall rules end with it. What stays is a folder and control groups: `Lab` removes them, at its start too. Nothing of
this machine's own engine is changed.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from images import hand_over

from testing.polling import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from subprocess import CompletedProcess

NAME = "signet-swarm"
# Images and volumes: on a disk, which /tmp need not be.
FOLDER = Path("/var/tmp") / NAME  # noqa: S108 -- a Docker engine's data is too large for memory
# Of RFC 2544, for tests of networks.
_NETWORK = "198.18.44"
_UNTIL_WE_END = ("setpriv", "--pdeathsig", "KILL")
# /run and /etc/docker hold what an engine believes to be its own. Two folders it would make mounts of, and so hide what
# is mounted below them, if they were none yet. Volumes lie in memory, as SeaweedFS takes nothing on a disk that is
# nearly full.
_BOOT = """
hostname "$0"
ip link set lo up
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /etc/docker
for folder in "$1" "$1/overlay2"; do
    mount --bind "$folder" "$folder"
    mount --make-shared "$folder"
done
mkdir "$1/volumes"
mount -t tmpfs tmpfs "$1/volumes"
while read -r layer place; do
    mount --bind "$layer" "$place"
    mount -o remount,bind,ro "$place"
done
exec docker-init -- dockerd --data-root "$@"
"""


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=120)


class Lab:
    """The switch, which has this machine at its port `.1`, and a folder for the machines."""

    def __init__(self) -> None:
        self._lock = socket.socket(socket.AF_UNIX)
        self._lock.bind(f"\0{NAME}")  # of two labs at once one fails here
        self._machines: list[Machine] = []
        _clean()
        self._switch = subprocess.Popen([*_UNTIL_WE_END, "unshare", "--net", "sleep", "infinity"])
        _wait_for_network(self._switch)
        self._port(NAME, os.getpid(), port="host", address=_address(1))
        self.ip(self._switch, "link", "add", "switch", "type", "bridge")
        self.ip(self._switch, "link", "set", "switch", "up")
        self._plug("host")

    @property
    def addresses(self) -> list[str]:
        """Those of its machines, and of more that may come."""
        return [_address(port) for port in range(10, 20)]

    def machine(self, name: str, images: Iterable[str]) -> Machine:
        """Start a machine that has these images."""
        folder = FOLDER / name
        layers = hand_over(images, folder / "data")
        address = self.addresses[len(self._machines)]
        machine = Machine(name, address, folder, layers)
        self._machines.append(machine)
        self._port("eth0", machine.process.pid, port=name, address=address)
        self._plug(name)
        machine.wait_for_engine()
        return machine

    def kill(self, machine: Machine) -> None:
        """Have a machine vanish: nobody hears from it any more, not even that a connection has ended."""
        self.ip(self._switch, "link", "set", machine.name, "down")
        machine.kill()

    def close(self) -> None:
        """Leave nothing."""
        for machine in self._machines:
            machine.kill()
        self._switch.kill()
        self._switch.wait()
        _clean()
        self._lock.close()

    def _port(self, interface: str, pid: int, *, port: str, address: str) -> None:
        link = ("ip", "link", "add", port, "netns", str(self._switch.pid), "type", "veth")
        _run(*link, "peer", "name", interface, "netns", str(pid))
        inside = ("nsenter", f"--net=/proc/{pid}/ns/net", "ip")
        _run(*inside, "address", "add", f"{address}/24", "dev", interface)
        _run(*inside, "link", "set", interface, "up")

    def _plug(self, port: str) -> None:
        self.ip(self._switch, "link", "set", port, "master", "switch", "up")

    @staticmethod
    def ip(process: subprocess.Popen[bytes], *args: str) -> None:
        """Run `ip` in a process's network."""
        _run("nsenter", f"--net=/proc/{process.pid}/ns/net", "ip", *args)


class Machine:
    """A Docker engine in namespaces of its own."""

    def __init__(self, name: str, address: str, folder: Path, mounts: Iterable[tuple[Path, Path]]) -> None:
        self.name, self.address, self.folder = name, address, folder
        self.host = f"unix://{folder}/docker.sock"
        namespaces = ("--net", "--mount", "--pid", "--uts", "--ipc", "--mount-proc", "--fork", "--kill-child")
        # That engines forbid new privileges is what docs/swarm.md asks for.
        engine = (folder / "data", "--host", self.host, "--no-new-privileges", "--cgroup-parent", f"/{NAME}/{name}")
        table = folder / "mounts"
        table.write_text("".join(f"{layer} {place}\n" for layer, place in mounts), "utf-8")
        command = [*_UNTIL_WE_END, "unshare", *namespaces, "sh", "-euc", _BOOT, name, *engine]
        with table.open() as lines, (folder / "log").open("w") as log:
            self.process = subprocess.Popen(command, stdin=lines, stdout=log, stderr=log)
        _wait_for_network(self.process)

    def wait_for_engine(self) -> None:
        """Return when the engine answers."""
        until(f"the engine of {self.name} answers", lambda: self.try_docker("version").returncode == 0, timeout_s=60)

    def docker(self, *args: str, stdin: str = "", env: Mapping[str, str] | None = None, timeout_s: float = 120) -> str:
        """Run `docker` at this engine; what it printed."""
        done = self.try_docker(*args, stdin=stdin, env=env, timeout_s=timeout_s)
        assert done.returncode == 0, f"docker {' '.join(args)} ended with {done.returncode}:\n{done.stderr[-4000:]}"
        return done.stdout.strip()

    def try_docker(
        self, *args: str, stdin: str = "", env: Mapping[str, str] | None = None, timeout_s: float = 120
    ) -> CompletedProcess[str]:
        """Run `docker` at this engine, whatever comes of it."""
        return subprocess.run(
            ["docker", *args],
            env={**os.environ, "DOCKER_HOST": self.host, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )

    def curl(self, address: str) -> str:
        """What an address answers to the machine itself; nothing where none does."""
        network = f"--net=/proc/{self.process.pid}/ns/net"
        curl = ["nsenter", network, "curl", "--silent", "--max-time", "5", address]
        return subprocess.run(curl, capture_output=True, text=True, check=False, timeout=10).stdout

    def kill(self) -> None:
        """End every process of the machine at once."""
        self.process.kill()
        self.process.wait()


def _address(port: int) -> str:
    return f"{_NETWORK}.{port}"


def _wait_for_network(process: subprocess.Popen[bytes]) -> None:
    ours, theirs = (Path("/proc") / str(pid) / "ns" / "net" for pid in ("self", process.pid))
    until("it has a network of its own", lambda: theirs.readlink() != ours.readlink(), timeout_s=10, interval_s=0.01)


def _clean() -> None:
    """Remove what outlives the processes: files, and control groups."""
    if FOLDER.exists():
        # A machine's last process may just be ending.
        until("the folder is gone", _is_removed, timeout_s=30)
    for group in (*Path("/sys/fs/cgroup").glob(NAME), *Path("/sys/fs/cgroup").glob(f"*/{NAME}")):
        for folder, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()


def _is_removed() -> bool:
    shutil.rmtree(FOLDER, ignore_errors=True)
    return not FOLDER.exists()
