"""The digest of a model's files: what is served must have the digest of what was logged."""

from __future__ import annotations

import hashlib
from pathlib import Path

# MLflow's client writes it into what it downloads.
_NOT_LOGGED = "registered_model_meta"


def of_model(folder: Path) -> str:
    r"""Digest of a model's folder: that of the list that `sha256sum` prints of its files, in the order of their paths.

    The same by hand, in the folder, without what stands before and after it:
    `find . -type f ! -name registered_model_meta -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum`
    """
    files = sorted(
        (path.relative_to(folder).as_posix().encode(), path)
        for path in folder.rglob("*")
        if path.is_file() and path.name != _NOT_LOGGED
    )
    listed = b"".join(b"%s  %s\n" % (of_file(path).encode(), name) for name, path in files)
    return f"sha256:{hashlib.sha256(listed).hexdigest()}"


def of_file(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
