"""The library by itself: what it needs, and what it does without MLflow."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PACKAGE = Path(__file__).parents[1]
CONSTRAINTS = PACKAGE.parents[1] / "constraints.txt"

SIGNATURE = {"inputs": '[{"type": "double", "name": "km"}]'}
PROGRAM = """
import sys
from signet_contract import Contract, EnforcementMissing, MalformedPayload
from signet_contract.middleware import ContractMiddleware

contract = Contract.load("MLmodel")
assert contract.check(b'{"inputs": {"km": [5.5]}}').inputs.tolist() == [[5.5]]
assert contract.check(b'{"inputs": {"km": [%s]}}' % b", ".join([b"5.5"] * 9999)).rows == 9999
try:
    contract.check(b"{")
except MalformedPayload as error:
    print(error)
try:
    contract.check(b'{"inputs": {"km": ["x"]}}')
except EnforcementMissing as error:
    print(error)
print(*sorted({"torch", "ts", "mlflow", "pandas"} & {name.partition(".")[0] for name in sys.modules}))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of a fresh venv with nothing but the library and what it names."""
    folder = tmp_path_factory.mktemp("install")
    venv, copy = folder / "venv", folder / "contract"
    shutil.copytree(
        PACKAGE / "src", copy / "src", ignore=shutil.ignore_patterns("*.egg-info")
    )  # pip builds where it lies
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(PACKAGE / file, copy)
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    python = venv / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", str(CONSTRAINTS)]
    subprocess.run([*install, str(copy)], check=True)
    return python


def test_the_fast_path_needs_five_packages(python: Path, tmp_path: Path) -> None:
    """What is plainly right or unreadable is decided, and for the rest one line says what to install."""
    (tmp_path / "MLmodel").write_text(yaml.safe_dump({"flavors": {}, "signature": SIGNATURE}))
    done = subprocess.run([str(python), "-c", PROGRAM], cwd=tmp_path, check=True, capture_output=True, text=True)
    malformed, missing, imported = done.stdout.splitlines()
    assert malformed.startswith("The body is not JSON")
    assert missing.endswith("the module mlflow is not installed: pip install 'signet-contract[enforcement]'")
    assert imported == ""
    listed = subprocess.run(
        [str(python), "-m", "pip", "list", "--format", "freeze"], check=True, capture_output=True, text=True
    ).stdout
    installed = {line.partition("==")[0].lower() for line in listed.splitlines()} - {"pip", "setuptools"}
    assert installed == {"signet-contract", "msgspec", "numpy", "orjson", "pysimdjson", "pyyaml"}


def test_the_command_says_what_to_install(python: Path, tmp_path: Path) -> None:
    """For an undecided body as for a URI, with exit code 2."""
    (tmp_path / "MLmodel").write_text(yaml.safe_dump({"flavors": {}, "signature": SIGNATURE}))
    command = python.with_name("signet-contract")
    for model, body, code in [
        (tmp_path, b'{"inputs": {"km": [5.5]}}', 0),
        (tmp_path, b'{"inputs": {"km": ["x"]}}', 2),
        ("models:/ride/1", b"", 2),
    ]:
        done = subprocess.run([command, "check", str(model), "-"], input=body, capture_output=True, check=False)
        assert done.returncode == code, done
        assert code == 0 or done.stderr.endswith(b"pip install 'signet-contract[enforcement]'\n")
