"""An MLflow server of somebody else: with accounts, below a path, behind TLS of an authority of its own."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from testing.polling import until
from testing.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PATH = "/mlflow"
TOKEN = "a-token-that-the-proxy-knows"  # noqa: S105 -- of a server that lives as long as the test
ADMIN = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "correct-horse-battery"}
# As MLflow's own, with a database of the test's.
_ACCOUNTS = """[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/accounts.db
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""
# HAProxy takes the path away, and knows a token, as what stands before such servers does.
_PROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend mlflow
    bind :{port} ssl crt {folder}/both.pem
    http-request set-header Authorization "Basic {admin}" if {{ req.hdr(Authorization) -m str "Bearer {token}" }}
    http-request replace-path {path}(/.*)? \\1
    default_backend mlflow
backend mlflow
    server mlflow 127.0.0.1:{mlflow}
"""


@dataclass(frozen=True)
class Elsewhere:
    """The server as this machine sees it."""

    port: int
    ca: Path
    log: Path

    @property
    def url(self) -> str:
        """Its address from this machine."""
        return f"https://127.0.0.1:{self.port}{PATH}"

    @property
    def url_from_containers(self) -> str:
        """Its address from containers."""
        return f"https://host.docker.internal:{self.port}{PATH}"

    def refusals(self) -> int:
        """How many requests it has answered with a 401."""
        return self.log.read_text("utf-8").count(" 401")

    @contextmanager
    def as_account(self, account: Mapping[str, str], **more: str) -> Iterator[None]:
        """Let MLflow's client in this process be that account's."""
        import mlflow

        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith(("AWS_", "MLFLOW_"))]:
                patch.delenv(name)
            for name, value in {**account, "MLFLOW_TRACKING_SERVER_CERT_PATH": str(self.ca), **more}.items():
                patch.setenv(name, value)
            mlflow.set_tracking_uri(self.url)
            patch.setenv("MLFLOW_TRACKING_URI", self.url)
            yield


@contextmanager
def elsewhere(folder: Path, arguments: list[str], env: Mapping[str, str], *, behind_proxy: bool) -> Iterator[Elsewhere]:
    """`mlflow server` with accounts: behind HAProxy in a container, or with a path and TLS by itself."""
    certify(folder)
    config = folder / "accounts.ini"
    config.write_text(_ACCOUNTS.format(folder=folder), "utf-8")
    port, own = free_port(), free_port()
    server = Elsewhere(port, folder / "ca.pem", folder / "mlflow.log")
    tls = f"--ssl-keyfile {folder}/key.pem --ssl-certfile {folder}/ca.pem"
    way = (
        ["--port", str(own)] if behind_proxy else ["--port", str(port), "--static-prefix", PATH, "--uvicorn-opts", tls]
    )
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1"]
    command += ["--host", "127.0.0.1", "--allowed-hosts", "*"]
    with ExitStack() as running:
        log = running.enter_context(server.log.open("wb"))
        process = subprocess.Popen(
            [*command, "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", *arguments, *way],
            cwd=folder,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MLFLOW_"))},
                "MLFLOW_AUTH_CONFIG_PATH": str(config),
                "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN["MLFLOW_TRACKING_PASSWORD"],
                "MLFLOW_FLASK_SERVER_SECRET_KEY": "for-as-long-as-the-test",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                **env,
            },
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        running.callback(process.wait)
        running.callback(os.killpg, process.pid, signal.SIGKILL)  # asked to, it waits for clients that keep connections
        if behind_proxy:
            running.enter_context(_proxy(folder, port, own))
        until("the MLflow server elsewhere answers", lambda: _is_up(server), timeout_s=60, interval_s=0.3)
        yield server


def _is_up(server: Elsewhere) -> bool:
    try:
        return requests.get(f"{server.url}/health", verify=str(server.ca), timeout=5).ok
    except requests.ConnectionError:
        return False


@contextmanager
def _proxy(folder: Path, port: int, mlflow: int) -> Iterator[None]:
    import base64

    admin = base64.b64encode(":".join(ADMIN.values()).encode()).decode()
    config = folder / "proxy.cfg"
    config.write_text(_PROXY.format(folder="/etc/proxy", path=PATH, port=port, mlflow=mlflow, admin=admin, token=TOKEN))
    folder.chmod(0o755)
    command = ["docker", "run", "--rm", "--detach", "--network", "host", "--volume", f"{folder}:/etc/proxy:ro"]
    started = subprocess.run(
        [*command, "haproxy:3.2-trixie", "haproxy", "-db", "-f", "/etc/proxy/proxy.cfg"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    try:
        yield
    finally:
        subprocess.run(["docker", "rm", "--force", started.stdout.strip()], capture_output=True, check=True, timeout=60)


def certify(folder: Path) -> None:
    """A certificate that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of its own")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("host.docker.internal"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for file, content in (("ca.pem", pem), ("key.pem", private), ("both.pem", pem + private)):
        (folder / file).write_bytes(content)
        (folder / file).chmod(0o644)
