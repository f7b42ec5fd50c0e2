import base64
import hashlib
import hmac
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from embedded import http, ports, socket_folder
from embedded.datadir import DataDir
from embedded.services import seaweedfs
from embedded.stack import Stack
from embedded.step_times import StepTimes


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """SeaweedFS alone."""
    folder = DataDir(tmp_path_factory.mktemp("stack"))
    folder.make()
    addresses = ports.free([*seaweedfs.PORTS, "mlflow", "inference", "metrics", "health"])
    short = socket_folder.begin(folder.path, *seaweedfs.sockets(addresses))
    made = Stack(folder, addresses, [seaweedfs.service(folder, addresses, short)], StepTimes(), short)
    try:
        made.wait_ready()
        yield made
    finally:
        made.close(kill=True)


def client(stack: Stack, secret: str | None = None) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{stack.addresses['s3']}",
        aws_access_key_id=stack.folder.key("s3-access-key"),
        aws_secret_access_key=secret or stack.folder.key("s3-secret-key"),
        region_name="us-east-1",
        config=Config(retries={"max_attempts": 1}, proxies={}),
    )


def _signed(key: str) -> str:
    """A token that the filer takes for a minute."""
    parts = ({"alg": "HS256", "typ": "JWT"}, {"exp": int(time.time()) + 60})
    signed = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    digest = hmac.new(key.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(digest).rstrip(b"=")).decode()


def test_the_bucket_takes_and_gives(stack: Stack) -> None:
    """The key writes, reads, lists and deletes in its bucket."""
    s3 = client(stack)
    s3.put_object(Bucket="mlflow", Key="a/b", Body=b"text")
    assert s3.get_object(Bucket="mlflow", Key="a/b")["Body"].read() == b"text"
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="mlflow")["Contents"]] == ["a/b"]
    s3.delete_object(Bucket="mlflow", Key="a/b")


def test_the_key_reaches_no_other_bucket(stack: Stack) -> None:
    """It can neither make one nor look into one."""
    s3 = client(stack)
    for ask in (s3.create_bucket, s3.list_objects_v2):
        with pytest.raises(ClientError):
            ask(Bucket="other")


def test_a_copy_reaches_no_other_bucket(stack: Stack) -> None:
    """What an object is copied from must be the key's, too, although the request names a bucket that is."""
    filer = f"http://127.0.0.1:{stack.addresses['filer']}/buckets/other/secret"
    token = {"Authorization": f"Bearer {_signed(stack.folder.key('jwt.filer_signing'))}"}
    assert requests.post(filer, files={"file": b"text"}, headers=token, timeout=10).status_code == 201
    s3 = client(stack)
    upload = s3.create_multipart_upload(Bucket="mlflow", Key="stolen")["UploadId"]
    source = {"Bucket": "mlflow", "Key": "stolen", "CopySource": "other/secret"}
    asks: list[Callable[[], object]] = [
        lambda: s3.copy_object(**source),
        lambda: s3.upload_part_copy(**source, PartNumber=1, UploadId=upload),
        lambda: s3.copy_object(**source | {"CopySource": "mlflow/../other/secret"}),
    ]
    for ask in asks:
        with pytest.raises(ClientError):
            ask()


def test_a_wrong_key_reaches_nothing(stack: Stack) -> None:
    """The bucket is not public."""
    with pytest.raises(ClientError):
        client(stack, "wrong").list_objects_v2(Bucket="mlflow")


def test_the_inner_doors_are_shut(stack: Stack) -> None:
    """The filer, which knows no S3 keys, refuses who has no signed token."""
    answer = http.ask(f"http://127.0.0.1:{stack.addresses['filer']}/buckets/mlflow/")
    assert answer is not None
    assert answer.status == 401


@pytest.mark.parametrize("port", [name for name in seaweedfs.PORTS if name.endswith("-grpc")])
@pytest.mark.parametrize("way", ["plain", "tls"])
def test_the_inner_grpc_is_shut(stack: Stack, port: str, way: str) -> None:
    """SeaweedFS' own protocol, by which files are read and users made, is spoken with its own parts alone."""
    connection = socket.create_connection(("127.0.0.1", stack.addresses[port]), timeout=5)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    settings = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    with connection if way == "plain" else context.wrap_socket(connection) as asking:
        asking.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
        answer = b""
        with suppress(ssl.SSLError, ConnectionResetError):
            answer = asking.recv(9)
        assert answer == b""


def test_data_outlives_a_restart(stack: Stack) -> None:
    """What was stored is there when it starts again."""
    client(stack).put_object(Bucket="mlflow", Key="kept", Body=b"text")
    stack.stop("seaweedfs")
    stack.start("seaweedfs")
    assert client(stack).get_object(Bucket="mlflow", Key="kept")["Body"].read() == b"text"
