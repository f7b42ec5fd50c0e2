"""`make backup` and `make restore`: the database and the bucket of `make up`, into a folder and back."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from embedded.datadir import DataDir
from embedded.errors import EmbeddedError
from embedded.services import postgres, seaweedfs
from embedded.settings import Settings, clean_environment
from embedded.stack import opened, stores
from embedded.supervisor import folder

# Tables that a newer MLflow has added are dropped, too. If anything fails, the database stays as it was.
_REPLACE = (
    "--no-psqlrc",
    "--quiet",
    "--set=ON_ERROR_STOP=1",
    "--single-transaction",
    "--command=DROP OWNED BY CURRENT_USER",
)
_BUCKET = (sys.executable, "-m", "signet_mlflow_server.bucket")


def save(settings: Settings, target: Path) -> int:
    """Saves a stack that runs. The database comes first: artifacts that it names were in the bucket before."""
    place = folder(settings, "up")
    if not place.is_locked():
        raise EmbeddedError("nothing is running: `make up` comes first")
    try:
        target.mkdir(mode=0o700)
    except OSError as error:
        raise EmbeddedError(f"cannot make {target}: {error.strerror}; a backup has a new folder") from error
    env = _env(place, json.loads((place.path / "ports.json").read_text(encoding="utf-8")))
    database, bucket = target / "database", target / "bucket.tar"
    _run(env, postgres.program("pg_dump"), "--format=custom", output=database.with_suffix(".partial"))
    database.with_suffix(".partial").rename(database)
    _run(env, *_BUCKET, "save", output=bucket.with_suffix(".partial"))
    bucket.with_suffix(".partial").rename(bucket)
    print(f"backed up to {target}")
    return 0


def load(settings: Settings, source: Path) -> int:
    """Puts back what was saved: runs, models and aliases are those of the backup again."""
    database, bucket = source / "database", source / "bucket.tar"
    if not (database.is_file() and bucket.is_file()):
        raise EmbeddedError(f"no backup lies at {source}: expected the files {database.name} and {bucket.name}")
    place = folder(settings, "up")
    if place.is_locked():
        raise EmbeddedError("`make up` is running: `make down` comes first")
    with opened(place.path, parts=stores) as stack:
        stack.wait_ready()
        env = _env(place, stack.addresses)
        _run(env, *_BUCKET, "load", given=bucket)
        with tempfile.NamedTemporaryFile(dir=place.path) as script:
            as_text = (f"--file={script.name}", "--no-owner", "--no-privileges")
            _run(env, postgres.program("pg_restore"), *as_text, given=database)
            _run(env, postgres.program("psql"), *_REPLACE, f"--file={script.name}")
    print(f"restored from {source}: `make up` goes on with it")
    return 0


def _env(place: DataDir, addresses: Mapping[str, int]) -> dict[str, str]:
    """The variables that a client of both stores needs."""
    ways = {**postgres.env(place, addresses[postgres.NAME]), **seaweedfs.env(place, addresses["s3"])}
    return {**clean_environment(), **ways}


def _run(env: Mapping[str, str], *command: str, given: Path | None = None, output: Path | None = None) -> None:
    with Path(given or os.devnull).open("rb") as stdin, Path(output or os.devnull).open("wb") as stdout:
        done = subprocess.run(
            command, env=env, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
        )
    if done.returncode:
        raise EmbeddedError(f"{Path(command[0]).name} failed: {done.stderr.strip()[-2000:]}")
