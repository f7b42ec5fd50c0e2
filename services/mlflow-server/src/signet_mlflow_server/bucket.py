"""The bucket's part of a backup: `python -m signet_mlflow_server.bucket save` writes a tar file to standard output.

`load` reads such a tar file from standard input and puts its files back. Other objects of the bucket stay.
"""

from __future__ import annotations

import os
import posixpath
import sys
import tarfile
from types import SimpleNamespace
from typing import IO, Any

from botocore.exceptions import ClientError
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

from signet_mlflow_server.settings import Settings


class Bucket:
    """Where artifacts lie: a bucket, or what is below a path of it.

    Args:
        destination: its address, such as `s3://mlflow`.
    """

    def __init__(self, destination: str) -> None:
        # Its methods are untyped, and one is private: it knows how MLflow reaches the store.
        repository: Any = S3ArtifactRepository(destination)
        self._name, self._root = repository.parse_s3_compliant_uri(destination)
        self._client = repository._get_s3_client()  # noqa: SLF001 -- the client that MLflow itself uses

    def save(self, stream: IO[bytes]) -> int:
        """Write every object as a file of a tar, but those that are deleted meanwhile. Returns the number of files."""
        count = 0
        prefix = posixpath.join(self._root, "") if self._root else ""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=prefix)
        with tarfile.open(fileobj=stream, mode="w|") as tar:
            for key in (found["Key"] for page in pages for found in page.get("Contents", ())):
                try:
                    got = self._client.get_object(Bucket=self._name, Key=key)
                except ClientError as error:
                    if error.response["Error"]["Code"] != "NoSuchKey":
                        raise
                    continue
                file = tarfile.TarInfo(key.removeprefix(prefix))
                file.size, file.mtime = got["ContentLength"], got["LastModified"].timestamp()
                tar.addfile(file, got["Body"])
                count += 1
        return count

    def load(self, stream: IO[bytes]) -> int:
        """Put every file of a tar where `save` found it. Returns the number of files."""
        count = 0
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for file in tar:
                if content := tar.extractfile(file):
                    once = SimpleNamespace(read=content.read)  # without `seek`: a piece of a stream cannot go back
                    self._client.upload_fileobj(once, self._name, posixpath.join(self._root, file.name))
                    count += 1
        return count


def main(arguments: list[str]) -> int:
    """Save or load, as the one argument says, and say on standard error how much."""
    if arguments not in (["save"], ["load"]):
        print("Expected one argument: save or load.", file=sys.stderr)  # noqa: T201 -- a command's output
        return 2
    bucket = Bucket(Settings.from_environment(os.environ).artifacts_destination)
    count = bucket.save(sys.stdout.buffer) if arguments == ["save"] else bucket.load(sys.stdin.buffer)
    print(f"{count} files", file=sys.stderr)  # noqa: T201 -- a command's output
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
