"""Which names a deployment can have. A deployment is named after its registered model; MLflow admits more names."""

from __future__ import annotations

import re

from signet_torchserve.errors import NotServable

# File systems hold names of 255 bytes, and TorchServe's tools name files after the model: this leaves nine for what
# they append.
MAX_LENGTH = 246

_SERVABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def check(name: str) -> None:
    r"""Refuse a name that TorchServe cannot serve, or that a URL or a file system cannot carry as it is.

    Raises:
        NotServable: the name has other characters than ASCII letters, digits, `_`, `-` and `.`, does not begin with a
            letter or digit, has two dots in a row (TorchServe takes them for a path), or is longer than `MAX_LENGTH`.
    """
    if not _SERVABLE.fullmatch(name) or ".." in name:
        raise NotServable(
            f"TorchServe cannot serve a model named {name!r}: expected letters, digits, '_', '-' and '.', "
            "with a letter or digit first and no two dots in a row."
        )
    if len(name) > MAX_LENGTH:
        raise NotServable(
            f"TorchServe cannot serve a model whose name has {len(name)} characters ({name[:20]}…): "
            f"expected at most {MAX_LENGTH}."
        )
