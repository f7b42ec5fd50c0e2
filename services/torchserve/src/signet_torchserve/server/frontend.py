"""TorchServe's frontend, with those of our `patches` that fit the jar that is installed."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import ts

from signet_torchserve.server.classfile_reader import ClassFile
from signet_torchserve.server.patches import PATCHES, Change, Patch

JARS = Path(ts.__file__).with_name("frontend")
OURS = Path(__file__).with_name("java")
_THEIRS = "org/pytorch/serve/"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Frontend:
    """What Java is started with."""

    classpath: str
    """The classes that were changed come before those that TorchServe ships."""
    patches: frozenset[str]
    """Names of the patches that are in it."""


class _DoesNotFit(Exception):
    """The message says what the patch expects of the jar."""


def prepared(folder: Path, patches: Iterable[Patch] = PATCHES) -> Frontend:
    """The frontend with all patches that fit; the log says what is lost without each of the others.

    Args:
        folder: where to write the classes that are changed.
        patches: those to apply.
    """
    changed: dict[str, bytes] = {}
    applied: set[str] = set()
    with zipfile.ZipFile(JARS / "model-server.jar") as jar:
        for patch in patches:
            try:
                changed |= _changed(patch, jar, changed, applied)
            except _DoesNotFit as error:
                logger.warning(
                    "TorchServe's frontend goes without the patch '%s' (%s). It expects %s. %s",
                    patch.name,
                    patch.purpose.removesuffix("."),
                    error,
                    patch.lost,
                )
            else:
                applied.add(patch.name)
    for name, content in changed.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return Frontend(f"{folder}:{OURS}:{JARS}/*", frozenset(applied))


def _changed(patch: Patch, jar: zipfile.ZipFile, before: dict[str, bytes], applied: set[str]) -> dict[str, bytes]:
    """The classes that a patch changes, on top of what the patches applied `before` have made of them."""
    if patch.needs and patch.needs not in applied:
        raise _DoesNotFit(f"the patch '{patch.needs}', without which it would do harm")
    after = {}
    for name, changes in patch.changes.items():
        content = before.get(name) or _read(jar, name)
        for change in changes:
            if content.count(change.shipped) != 1:
                raise _DoesNotFit(f"{name} to be that of TorchServe 0.12.0, whose code is known")
            if change.our_class:
                _check_links(change, content, jar)
            content = content.replace(change.shipped, change.other)
        after[name] = content
    return after


def _check_links(change: Change, content: bytes, jar: zipfile.ZipFile) -> None:
    """Check that our class has all that is used of the class that it replaces, and that the jar has all that ours use.

    Raises:
        _DoesNotFit: something is missing.
    """
    ours = {file.stem: ClassFile(file.read_bytes()) for file in (OURS / "signet").glob("*.class")}
    for of, name, descriptor in _parsed(content).uses:
        if of == change.shipped_class and not ours[Path(change.our_class).name].has(name, descriptor):
            raise _DoesNotFit(f"no call of {of}.{name}{descriptor}")
    for of, name, descriptor in {use for one in ours.values() for use in one.uses if use[0].startswith(_THEIRS)}:
        if not _parsed(_read(jar, f"{of}.class")).has(name, descriptor):
            raise _DoesNotFit(f"{of} to have {name}{descriptor}")


def _parsed(content: bytes) -> ClassFile:
    try:
        return ClassFile(content)
    except ValueError:
        raise _DoesNotFit("classes that can be read") from None


def _read(jar: zipfile.ZipFile, name: str) -> bytes:
    try:
        return jar.read(name)
    except KeyError:
        raise _DoesNotFit(f"a class {name}") from None
