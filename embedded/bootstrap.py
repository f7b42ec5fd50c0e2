"""Makes `.venv` with everything that this repository runs and checks itself with; says nothing where it is complete.

Run by bootstrap.sh, with the standard library only. A stamp inside `.venv` holds a hash of all that went into it: the
lock, the services' dependencies, this file, the Python and the folder. No stamp means half-made: `.venv` is made anew.
Another hash with the same Python and folder means outdated: pip brings it up to date.
"""

import fcntl
import hashlib
import locale
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "signet-stamp"
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
LOG = ROOT / ".signet" / "venv.log"
CONSTRAINTS = ROOT / "constraints.txt"
PROJECTS = [
    "packages/contract[enforcement]",
    *(f"services/{name}" for name in ("client", "mlflow-server", "torchserve", "trainer")),
    "embedded[dev]",
]
# A CPU build is taken where this index is in reach, and whatever pip already sees where it is not.
TORCH_FLAGS = ("--retries", "1", "--timeout", "5", "--extra-index-url", "https://download.pytorch.org/whl/cpu")
NEEDED_MB = 4000
TAIL_LINES = 15


class Failed(Exception):
    """Its text is the one message that a person reads."""


def place() -> str:
    """What cannot change without making `.venv` anew."""
    return f"{sys.version} {Path(sys.base_prefix).resolve()} {ROOT}"


def fingerprint() -> str:
    """Hash of everything that goes into `.venv`."""
    inputs = [CONSTRAINTS, Path(__file__), *(ROOT / project.split("[")[0] / "pyproject.toml" for project in PROJECTS)]
    return hashlib.sha256(b"\0".join([os.fsencode(place()), *(path.read_bytes() for path in inputs)])).hexdigest()


def pinned(name: str) -> str:
    """The requirement as the lock has it."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith(f"{name}=="))


@contextmanager
def ticking(what: str) -> Iterator[None]:
    """Shows that something goes on: a counter on a terminal, otherwise a line before and the time after."""
    began, done, terminal = time.monotonic(), threading.Event(), sys.stdout.isatty()
    print(f"  {what} …", end="", flush=True)

    def tick() -> None:
        while not done.wait(1):
            if terminal:
                print(f"\r  {what} … {time.monotonic() - began:.0f} s ", end="", flush=True)

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()
        print(f" {time.monotonic() - began:.1f} s" if not terminal else "", flush=True)


def utf8_locale() -> dict[str, str]:
    """Of the environment: setuptools writes this folder's path in the locale's encoding, whatever PYTHONUTF8 says."""
    try:
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    except locale.Error:  # on a Mac, whose locales are all UTF-8
        return {}
    return {"LC_ALL": "C.UTF-8"}


def run(what: str, *command: str) -> None:
    """One step; its output goes to the log, whose end is told when it fails."""
    with ticking(what), LOG.open("ab") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, **utf8_locale()},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            code = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if code:
        lines = LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
        if any("No space left on device" in line for line in lines):
            raise Failed(f"{what} failed: no space is left on the disk under {ROOT}.")
        raise Failed("\n".join([f"{what} failed. Its log, {LOG}, ends so:", *(f"    {line}" for line in lines)]))


def install() -> None:
    """Fills `.venv`, making it first if it is not there."""
    python = str(VENV / "bin" / "python")
    pip = (python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-c", str(CONSTRAINTS))
    if not VENV.exists():
        base = Path(sys.base_prefix, "bin", VERSION)
        run("making .venv", str(base if base.exists() else sys.executable), "-m", "venv", str(VENV))
    run("installing pip and setuptools", *pip, "pip", "setuptools")
    run("installing torch", *pip, pinned("torch"), *TORCH_FLAGS)
    editables = [argument for project in PROJECTS for argument in ("-e", str(ROOT / project))]
    run("installing everything else", *pip, "--no-build-isolation", *editables)
    make_paths_relative(VENV / "lib" / VERSION / "site-packages")
    run("checking that all fits together", python, "-m", "pip", "check")


def make_paths_relative(packages: Path) -> None:
    """Lets `.venv` work in every locale: Python before 3.13 reads these files in the locale's encoding."""
    for file in packages.glob("__editable__.*.pth"):
        lines = file.read_text(encoding="utf-8").splitlines()
        relative = [os.path.relpath(line, packages) if line.startswith("/") else line for line in lines]
        file.write_text("\n".join(relative), encoding="utf-8")


def bring_about() -> None:
    """Leaves `.venv` complete; Failed if that cannot be."""
    before = STAMP.read_text(encoding="utf-8", errors="surrogateescape").split("\n") if STAMP.exists() else []
    if before == [fingerprint(), place().replace("\n", " ")]:
        return
    LOG.write_bytes(b"")  # fails where nothing can be written, before anything is taken apart
    if VENV.exists() and (len(before) < 2 or before[1] != place().replace("\n", " ")):  # noqa: PLR2004 -- two lines
        print(f".venv {'was made for another place or Python' if before else 'is half-made'}: making it anew.")
        shutil.rmtree(VENV)
    elif VENV.exists():
        print(".venv is outdated: bringing it up to date.")
    else:
        print("Making .venv: some minutes, this once.")
    free_mb = shutil.disk_usage(ROOT).free // 2**20
    if not VENV.exists() and free_mb < NEEDED_MB:
        raise Failed(f"The disk under {ROOT} has {free_mb} MB free; .venv needs {NEEDED_MB} MB.")
    STAMP.unlink(missing_ok=True)
    install()
    stamp = "\n".join([fingerprint(), place().replace("\n", " ")])
    STAMP.write_text(stamp, encoding="utf-8", errors="surrogateescape")


def main() -> int:
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGINT))
    try:
        import ensurepip  # noqa: F401, PLC0415 -- Debian keeps it in a package of its own
    except ImportError:
        print(f"{sys.executable} cannot make a .venv: install {VERSION}-venv (Debian, Ubuntu).", file=sys.stderr)
        return 1
    try:
        LOG.parent.mkdir(exist_ok=True)
        with (LOG.parent / "venv.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a second run waits, and then finds it done
            bring_about()
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"cannot write to {error.filename or ROOT}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: the next run makes .venv anew.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
