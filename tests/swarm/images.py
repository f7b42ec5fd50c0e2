"""Images of this machine's engine for another engine, at no cost of disk or time.

A layer is never written to, so other engines may have it as a mount that can only be read. What an engine notes of its
images and layers is copied; a layer's chain ID follows from the layers below it, as the image specification says.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from testing.docker import docker

if TYPE_CHECKING:
    from collections.abc import Iterable

_DRIVER = "overlay2"


def hand_over(images: Iterable[str], to: Path) -> list[tuple[Path, Path]]:
    """Have an engine that is yet to start know the images.

    Args:
        images: their names, as this machine's engine knows them.
        to: the other engine's data root.

    Returns:
        What is to be mounted, and where, before that engine starts.
    """
    root, driver = docker("info", "--format", "{{.DockerRootDir}} {{.Driver}}").split()
    assert driver == _DRIVER, f"the engine's storage driver is {driver}: expected {_DRIVER}"
    own, theirs = Path(root) / "image" / _DRIVER, to / "image" / _DRIVER
    layers = to / _DRIVER
    (layers / "l").mkdir(parents=True)
    mounts: dict[Path, Path] = {}
    names: dict[str, dict[str, str]] = {}
    for image in images:
        (document,) = json.loads(docker("image", "inspect", image))
        names.setdefault(image.partition(":")[0], {})[image] = document["Id"]
        _copy(own, theirs, f"imagedb/content/{document['Id'].replace(':', '/')}")
        for chain in _chains(document["RootFS"]["Layers"]):
            noted = _copy(own, theirs, f"layerdb/{chain.replace(':', '/')}")
            name = (noted / "cache-id").read_text("utf-8")
            files = Path(root) / _DRIVER / name / "diff"
            if files not in mounts:
                mounts[files] = layers / name / "diff"
                mounts[files].mkdir(parents=True)
                for note in ("link", "lower"):  # its short name, and those of the layers below, if there are any
                    if (files.parent / note).exists():
                        shutil.copy2(files.parent / note, layers / name)
                (layers / "l" / (layers / name / "link").read_text("utf-8")).symlink_to(f"../{name}/diff")
    (theirs / "repositories.json").write_text(json.dumps({"Repositories": names}), "utf-8")
    return list(mounts.items())


def _chains(layers: list[str]) -> Iterable[str]:
    chain = ""
    for layer in layers:
        chain = f"sha256:{hashlib.sha256(f'{chain} {layer}'.encode()).hexdigest()}" if chain else layer
        yield chain


def _copy(own: Path, theirs: Path, name: str) -> Path:
    copy = theirs / name
    copy.parent.mkdir(parents=True, exist_ok=True)
    if (own / name).is_dir():
        shutil.copytree(own / name, copy, dirs_exist_ok=True)
    else:
        shutil.copy2(own / name, copy)
    return copy
