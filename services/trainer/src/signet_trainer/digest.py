"""What a logged model's files are known by, so that what is served is what was logged."""

import hashlib
from pathlib import Path

# MLflow's client writes it into what it downloads.
_NOT_LOGGED = "registered_model_meta"


def of_model(folder: Path) -> str:
    """Digest of a model's folder: that of the list that `sha256sum` prints of its files, in the order of their paths.

    The controller beside TorchServe makes the same one of what it has downloaded, and serves it only if they are equal.
    """
    files = sorted(
        (path.relative_to(folder).as_posix().encode(), hashlib.sha256(path.read_bytes()).hexdigest().encode())
        for path in folder.rglob("*")
        if path.is_file() and path.name != _NOT_LOGGED
    )
    listed = b"".join(b"%s  %s\n" % (digest, name) for name, digest in files)
    return f"sha256:{hashlib.sha256(listed).hexdigest()}"
