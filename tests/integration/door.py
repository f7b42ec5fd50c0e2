"""The public gateway on a port of its own, before a small replica, as `docker compose … up` opens it."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import requests

from testing.docker import docker
from testing.polling import until
from testing.ports import free_port
from testing.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from subprocess import CompletedProcess

PROJECT = "signet-door"
REPLICA = f"{PROJECT}-replica"
SMALL = ROOT / "tests" / "integration" / "small_replica.py"
_HOST = "127.0.0.1"
# MLflow's entry is open, too; no MLflow runs behind it.
_FILES = ("docker-compose.yml", "docker-compose.public.yml", "compose/public-mlflow.yml")


class Door:
    """Where it is open, its commands, and what the replica behind it has seen."""

    def __init__(self, folder: Path) -> None:
        self.port, self.mlflow_port, self._own_port = free_port(), free_port(), free_port()
        self.url = f"https://{_HOST}:{self.port}"
        self.own_url = f"http://{_HOST}:{self._own_port}"
        """The address that is open to this machine only."""
        self._env_file = folder / "door.env"
        self._env_file.write_text(
            f"SIGNET_PUBLIC_PORT={_HOST}:{self.port}\nSIGNET_PUBLIC_MLFLOW_PORT={_HOST}:{self.mlflow_port}\n"
            f"TORCHSERVE_PORT={self._own_port}\n"
        )
        self.authority = folder / "door.pem"
        self.master = ""
        self.refusals = list[tuple[int, str]]()

    def compose(self, *words: str, stdin: str | None = None) -> CompletedProcess[str]:
        files = [f"--file={name}" for name in _FILES]
        return subprocess.run(
            ["docker", "compose", "-p", PROJECT, "--env-file", str(self._env_file), *files, *words],
            cwd=ROOT,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def signet(self, *words: str, stdin: str | None = None) -> CompletedProcess[str]:
        return self.compose("run", "--rm", "-T", "signet", *words, stdin=stdin)

    def token(self, name: str, *options: str) -> str:
        """A new token."""
        done = self.signet("token", "create", name, *options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def ask(self, name: str, token: str | None = None, headers: dict[str, str] | None = None) -> requests.Response:
        with self.session(token) as session:
            return session.post(f"{self.url}/predictions/{name}", data=b"{}", headers=headers, timeout=30)

    def session(self, token: str | None = None) -> requests.Session:
        """A connection that is kept."""
        session = requests.Session()
        session.trust_env = False  # a bundle that the environment names would go before ours
        session.verify = str(self.authority)
        if token:
            session.headers["Authorization"] = f"Bearer {token}"
        return session

    def seen(self, name: str) -> int:
        """How often the replica was asked for that name."""
        return int(requests.get(f"http://{_address(REPLICA)}:8083/seen", timeout=10).json().get(name, 0))

    def metrics(self) -> str:
        address = _address(f"{PROJECT}-gateway-1")
        return requests.get(f"http://{address}:8405/metrics", timeout=10).text

    def logs(self) -> str:
        return self.compose("logs", "--no-log-prefix", "gateway").stdout

    def socket(self, *protocols: str) -> ssl.SSLSocket:
        """A connection that is sent what no client would send."""
        context = ssl.create_default_context(cafile=str(self.authority))
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context.wrap_socket(self.plain_socket(), server_hostname=_HOST)

    def mlflow_socket(self) -> ssl.SSLSocket:
        """A connection to MLflow's entry."""
        context = ssl.create_default_context(cafile=str(self.authority))
        return context.wrap_socket(self.plain_socket(self.mlflow_port), server_hostname=_HOST)

    def mlflow_kind_from_elsewhere(self) -> str:
        """What MLflow's entry says to the replica, an address of its own, which has no account."""
        ask = (
            "import http.client, json, ssl\n"
            "connection = http.client.HTTPSConnection('gateway', 8444, context=ssl._create_unverified_context())\n"
            "connection.request('GET', '/')\n"
            "print(json.load(connection.getresponse())['type'])\n"
        )
        return docker("exec", REPLICA, "python", "-c", ask)

    def plain_socket(self, port: int | None = None) -> socket.socket:
        """A connection before its TLS handshake."""
        return socket.create_connection((_HOST, port or self.port), timeout=15)

    def sent(self, text: str) -> bytes:
        """All that comes back after these bytes, until the connection closes or is silent for 2 s."""
        received = b""
        with self.socket() as connection:
            connection.settimeout(2)
            connection.sendall(text.encode("latin-1"))
            try:
                while chunk := connection.recv(65536):
                    received += chunk
            except (TimeoutError, ConnectionResetError):
                pass
        return received

    def refuse(self) -> None:
        """Bring the gateway up without a token, as part of the stack and by itself, and keep what is said."""
        up = self.compose("up", "--detach", "gateway")
        self.refusals = [(up.returncode, self.compose("logs", "--no-log-prefix", "door").stdout)]
        self.signet("certificate", "make")
        alone = self.compose("run", "--rm", "-T", "--no-deps", "gateway")
        self.refusals.append((alone.returncode, alone.stdout + alone.stderr))

    def open(self) -> None:
        """Bring gateway and replica up, with a token for everything."""
        self.master = self.token("master")
        done = self.compose("up", "--detach", "gateway")
        assert done.returncode == 0, done.stderr
        mount, image = f"--volume={SMALL}:/small_replica.py:ro", "python:3.11-slim-bookworm"
        docker("run", "--detach", "--rm", f"--name={REPLICA}", f"--network={PROJECT}_serving",
                "--network-alias=torchserve", mount, image, "python", "/small_replica.py")  # fmt: skip
        self.trust()
        until("the door is open", lambda: self.ask("ok", self.master).status_code == 200, timeout_s=60)

    def trust(self) -> None:
        """Trust the certificate that is shown now."""
        pem = until("a certificate is shown", self.shown, timeout_s=30)
        self.authority.write_text(pem)

    def shown(self) -> str:
        """The certificate that a new connection sees, nothing while none does."""
        try:
            return ssl.get_server_certificate((_HOST, self.port), timeout=5)
        except OSError:
            return ""

    def close(self) -> None:
        subprocess.run(["docker", "rm", "--force", REPLICA], capture_output=True, check=False, timeout=60)
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "1")


def _address(container: str) -> str:
    networks = json.loads(docker("inspect", container))[0]["NetworkSettings"]["Networks"]
    return str(next(network["IPAddress"] for name, network in networks.items() if name.endswith("serving")))


@contextmanager
def opened(folder: Path) -> Iterator[Door]:
    """A door of which everything is new: it was shut, and then got its first token."""
    door = Door(folder)
    door.close()
    built = door.compose("build", "--quiet", "signet", "gateway")
    assert built.returncode == 0, built.stderr
    try:
        door.refuse()
        door.open()
        yield door
    finally:
        door.close()
