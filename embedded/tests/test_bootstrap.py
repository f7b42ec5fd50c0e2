import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from embedded import bootstrap

FOLDER = Path(bootstrap.__file__).parent


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of which nothing is installed; installing takes no time and no network."""
    for project in bootstrap.PROJECTS:
        folder = tmp_path / project.split("[")[0]
        folder.mkdir(parents=True)
        (folder / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    (tmp_path / "constraints.txt").write_text("torch==1.0\ntorchserve==2.0\n", encoding="utf-8")
    paths = {"ROOT": ".", "VENV": ".venv", "STAMP": ".venv/signet-stamp", "LOG": ".signet/venv.log"}
    for name, path in {**paths, "CONSTRAINTS": "constraints.txt"}.items():
        monkeypatch.setattr(bootstrap, name, tmp_path / path)
    monkeypatch.setattr(bootstrap, "install", lambda: (tmp_path / ".venv").mkdir(exist_ok=True))
    return tmp_path


def said(module: ModuleType, capsys: pytest.CaptureFixture[str]) -> str:
    """What one run prints."""
    assert module.main() == 0
    return capsys.readouterr().out.strip()


def test_says_once_what_it_does(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Made, complete, outdated, half-made, moved: one line each, and none where nothing is to be done."""
    assert said(bootstrap, capsys) == "Making .venv: some minutes, this once."
    assert said(bootstrap, capsys) == ""
    (root / "constraints.txt").write_text("torch==1.1\n", encoding="utf-8")
    assert said(bootstrap, capsys) == ".venv is outdated: bringing it up to date."
    (root / ".venv" / "signet-stamp").unlink()
    assert said(bootstrap, capsys) == ".venv is half-made: making it anew."
    (root / ".venv" / "signet-stamp").write_text("hash\nPython 3.11.1 /elsewhere", encoding="utf-8")
    assert said(bootstrap, capsys) == ".venv was made for another place or Python: making it anew."
    assert said(bootstrap, capsys) == ""


def test_pinned(root: Path) -> None:
    """A name is not mistaken for another that begins with it."""
    assert root
    assert bootstrap.pinned("torch") == "torch==1.0"


def test_failing_step(root: Path) -> None:
    """A step that fails is named, with its log's end; a full disk in one line of its own."""
    bootstrap.LOG.parent.mkdir()
    with pytest.raises(
        bootstrap.Failed, match=r"installing failed\. Its log, .*venv.log, ends so:\n    no such package"
    ):
        bootstrap.run("installing", "sh", "-c", "echo no such package; exit 1")
    with pytest.raises(bootstrap.Failed, match=f"installing failed: no space is left on the disk under {root}"):
        bootstrap.run("installing", "sh", "-c", "echo 'OSError: [Errno 28] No space left on device'; exit 1")


def test_steps_speak_utf8(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the locale is: what writes this folder's path has the characters for it."""
    bootstrap.LOG.parent.mkdir()
    monkeypatch.setenv("LC_ALL", "C")
    bootstrap.run("installing", sys.executable, "-c", "import locale; print(locale.getencoding())")
    assert root
    assert bootstrap.LOG.read_text(encoding="utf-8").strip() == "UTF-8"


def test_what_is_installed_is_found_in_every_locale(tmp_path: Path) -> None:
    """By a path that has no character of the folder's own name."""
    packages, source = tmp_path / "é" / ".venv" / "lib", tmp_path / "é" / "services" / "src"
    for folder in (packages, source):
        folder.mkdir(parents=True)
    (source / "found.py").write_text("", encoding="utf-8")
    (packages / "__editable__.found-1.pth").write_text(f"{source}\n", encoding="utf-8")
    bootstrap.make_paths_relative(packages)
    code = "import site, sys; site.addsitedir(sys.argv[1]); import found; print(ascii(found.__file__))"
    env = {"LC_ALL": "C", "PYTHONUTF8": "0"}
    command = [sys.executable, "-S", "-c", code, str(packages)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "found.py" in done.stdout


def test_folder_of_any_name(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is no text, too, as file systems have them: `.venv` is made there once, as elsewhere."""
    monkeypatch.setattr(bootstrap, "place", lambda: f"Python {root}\udce9")
    assert said(bootstrap, capsys) == "Making .venv: some minutes, this once."
    assert said(bootstrap, capsys) == ""


def test_full_disk(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Too little space is said before anything is downloaded."""
    monkeypatch.setattr(bootstrap, "NEEDED_MB", 10**12)
    assert bootstrap.main() == 1
    assert f"The disk under {root} has" in capsys.readouterr().err


def script(path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """bootstrap.sh with nothing but `path` to find a Python in."""
    (path / "dirname").symlink_to("/usr/bin/dirname")
    folder = path / "embedded"
    folder.mkdir()
    for name in ("bootstrap.sh", "bootstrap.py"):
        (folder / name).write_bytes((FOLDER / name).read_bytes())
    command = ["/bin/sh", str(folder / "bootstrap.sh")]
    environment = {"PATH": str(path), "HOME": str(path), **env}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(os.path.exists("/usr/local/bin/python3.11"), reason="bootstrap.sh would find that one")  # noqa: PTH110 -- one word
def test_no_python(tmp_path: Path) -> None:
    """One message says what is missing and how to get it."""
    done = script(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("No Python from 3.11 to 3.13 was found. Install one")
    assert done.stderr.count("\n") == 1


def test_wrong_python(tmp_path: Path) -> None:
    """A Python that was named but is of another version is not used."""
    done = script(tmp_path, PYTHON="/bin/false")
    assert (done.returncode, done.stderr) == (1, "PYTHON=/bin/false is not a Python from 3.11 to 3.13.\n")


@pytest.mark.skipif(os.path.exists("/usr/local/bin/python3.11"), reason="bootstrap.sh would find that one")  # noqa: PTH110 -- one word
@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ({"python3": "3.13"}, "python3"),
        ({"python3.11": "3.11", "python3.12": "3.12", "python3": "3.10"}, "python3.12"),
        ({"python3.13": "3.13 without ensurepip", "python3.11": "3.11"}, "python3.11"),
        ({"python3.13": "3.13 without ensurepip", "python3": "3.14"}, "python3.13"),
    ],
)
def test_the_newest_that_can_be_used(tmp_path: Path, there: dict[str, str], chosen: str) -> None:
    """Of several Pythons the newest right one that can make a .venv; the only one that cannot says so itself."""
    for name, version in there.items():
        number = tuple(map(int, version.split()[0].split(".")))
        program = tmp_path / name
        program.write_text(
            f"#!{sys.executable}\n"
            "import sys\n"
            f"sys.version_info = {number}\n"
            "if sys.argv[1] != '-c':\n"
            f"    print({name!r}, sys.argv[1])\n"
            "elif 'ensurepip' in sys.argv[2]:\n"
            f"    sys.exit({'without' in version})\n"
            "else:\n"
            "    exec(sys.argv[2])\n"
        )
        program.chmod(0o755)
    done = script(tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{chosen} embedded/bootstrap.py\n"), done.stderr
