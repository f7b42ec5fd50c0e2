"""SeaweedFS as the S3 store: one bucket, and a key that reaches only that bucket."""

import json
import sysconfig
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from embedded.datadir import DataDir
from embedded.processes.service import Service

NAME = "seaweedfs"
BUCKET = "mlflow"
PORTS = (
    "s3",
    "s3-grpc",
    "master",
    "master-grpc",
    "volume",
    "volume-grpc",
    "filer",
    "filer-grpc",
    "admin",
    "admin-grpc",
)
_WEED = Path(sysconfig.get_path("scripts"), "weed")
_REGION = "us-east-1"


def sockets(ports: Mapping[str, int]) -> list[Path]:
    """The sockets at which `weed mini` listens besides its ports: they are always in /tmp.

    Source: https://github.com/seaweedfs/seaweedfs/blob/4.48/weed/command/mini.go
    """
    names = [name for name in PORTS if name.endswith("-grpc")]
    return [Path(f"/tmp/seaweedfs-{name}-{ports[name]}.sock") for name in names]  # noqa: S108 -- deleted, never made


def service(folder: DataDir, ports: dict[str, int], short: Path) -> Service:
    """`weed mini` on 127.0.0.1 only: S3 behind a key, inner HTTP behind signed tokens, inner gRPC behind a certificate.

    Its sockets that can be moved lie in the folder `short`.
    """
    home = folder.sub(NAME)
    folder.sub(f"{NAME}/data")
    actions = [f"{verb}:{BUCKET}" for verb in ("Read", "Write", "List", "Tagging")]
    access = {"accessKey": folder.key("s3-access-key"), "secretKey": folder.key("s3-secret-key")}
    identities = {"identities": [{"name": BUCKET, "credentials": [access], "actions": actions}]}
    config = folder.secret_file("s3.json", json.dumps(identities))
    # weed reads security.toml from its working folder: https://github.com/seaweedfs/seaweedfs/wiki/Security-Configuration
    sections = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
    security = "".join(f'[{section}]\nkey = "{folder.key(section)}"\n' for section in sections)
    (home / "security.toml").unlink(missing_ok=True)
    (home / "security.toml").symlink_to(folder.secret_file("security.toml", security))
    options = {
        "dir": "data",  # relative to its working folder: it takes an absolute path with a comma for several paths
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        **{port.replace("-", ".port.") if "-" in port else f"{port}.port": ports[port] for port in PORTS},
        "s3.config": config,
        "s3.iam": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "bucket": BUCKET,
        "webdav": "false",
        "admin.ui": "false",
        "master.telemetry": "false",
        "master.electionTimeout": "1s",  # there is no other master to wait for
        "filer.localSocket": short / "filer.sock",
        "s3.localSocket": short / "s3.sock",
    }
    return Service(
        name=NAME,
        command=(str(_WEED), "mini", *(f"-{name}={value}" for name, value in options.items())),
        log=folder.log(NAME),
        cwd=home,
        env={
            "GOMEMLIMIT": "1GiB",  # Go lets the heap double before it collects, which large uploads let grow for good
            **_behind_certificate(folder),
        },
        ready=lambda: _answers(f"http://127.0.0.1:{ports['s3']}", access["accessKey"], access["secretKey"]),
    )


def _behind_certificate(folder: DataDir) -> dict[str, str]:
    """Weed's variables by which its parts trust one certificate with its key, and no other authority."""
    from signet_client.door import certificate  # noqa: PLC0415 -- only a start needs what it imports

    file = str(folder.secret_file("grpc.pem", certificate.made_for(["127.0.0.1"]).pem))
    parts = ("ADMIN", "CLIENT", "FILER", "MASTER", "S3", "VOLUME", "WORKER")
    named = {f"WEED_GRPC_{part}_{kind}": file for part in parts for kind in ("CERT", "KEY")}
    return {"WEED_GRPC_CA": file, **named}


def env(folder: DataDir, port: int) -> dict[str, str]:
    """Boto's and MLflow's variables for a client of the bucket; the keys stay in a file."""
    text = (
        f"[default]\naws_access_key_id = {folder.key('s3-access-key')}\n"
        f"aws_secret_access_key = {folder.key('s3-secret-key')}\n"
    )
    return {
        "AWS_SHARED_CREDENTIALS_FILE": str(folder.secret_file("aws-credentials", text)),
        "AWS_DEFAULT_REGION": _REGION,
        "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }


def _answers(url: str, access_key: str, secret_key: str) -> bool:
    """Whether the key stores an object and reads it back: the bucket is there before the volumes that hold its data."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 -- slow: imported while the store starts

    s3 = _client(url, access_key, secret_key)
    probe = {"Bucket": BUCKET, "Key": ".signet-probe"}
    try:
        s3.put_object(**probe, Body=b"text")
        s3.get_object(**probe)["Body"].read()
        s3.delete_object(**probe)
    except (BotoCoreError, ClientError):
        return False
    return True


@cache
def _client(url: str, access_key: str, secret_key: str) -> Any:
    import boto3  # noqa: PLC0415 -- as above
    from botocore.config import Config  # noqa: PLC0415 -- as above

    config = Config(connect_timeout=1, read_timeout=2, retries={"max_attempts": 1}, proxies={})
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=_REGION,
        config=config,
    )
