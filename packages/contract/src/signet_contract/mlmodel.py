"""Reads MLmodel, the file that says what a model is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

# A rollout reads the file again and again; libyaml, where PyYAML has it, takes a tenth of the time.
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(path: Path) -> dict[str, Any]:
    """What an MLmodel file says.

    Raises:
        OSError: there is no such file.
        ValueError: it is no YAML, or no mapping.
    """
    try:
        document = yaml.load(path.read_text("utf-8"), _LOADER)  # noqa: S506 -- either is a safe one
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    if not isinstance(document, dict):
        raise ValueError("expected a YAML mapping")  # noqa: TRY004 -- the file is wrong, not its reader
    return document
