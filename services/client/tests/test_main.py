from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import LocalServer, Reply

SAMPLES = Path(__file__).parent.parent / "samples"


def _signet(*args: str, url: str = "http://127.0.0.1:1", stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environ = os.environ | {"SIGNET_URL": url, "SIGNET_TIMEOUT_S": "5"}
    command = [sys.executable, "-m", "signet_client", *args]
    return subprocess.run(command, env=environ, cwd=SAMPLES, input=stdin, capture_output=True, check=False, timeout=30)


def test_predict(local_server: LocalServer) -> None:
    """The seed's command line prints the seed's line; sample.json is the default."""
    done = _signet("predict", "--input_file_path", "sample.json", url=local_server.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Prediction Result SETOSA\n", b"")
    assert _signet("predict", url=local_server.url).stdout == done.stdout


def test_predict_from_a_pipe(local_server: LocalServer) -> None:
    """`-` sends what comes on standard input, byte for byte."""
    done = _signet("predict", "--input_file_path", "-", url=local_server.url, stdin=b'\x00{"data"')
    assert done.returncode == 0
    assert local_server.asked[0].body == b'\x00{"data"'


def test_unprintable_message(local_server: LocalServer, reply: type[Reply]) -> None:
    """A lone surrogate in a message is written as an escape, not as a traceback."""
    headers = {"Content-Type": "application/json"}
    local_server.reply = reply(400, rb'{"code": 400, "message": "column \ud800"}', headers)
    done = _signet("predict", url=local_server.url)
    assert (done.returncode, done.stdout) == (1, b"mlflow.exceptions.MlflowException: column \\ud800\n")


@pytest.mark.parametrize("command", ["predict", "scenarios"])
def test_server_is_down(command: str, unused_url: str) -> None:
    """A server that is down is one line on standard error and exit code 2."""
    done = _signet(command, url=unused_url)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == (
        f"signet: No answer from {unused_url}/predictions/iris_classification: Connection refused."
        " Expected the prediction server there (SIGNET_URL).\n"
    )


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["predikt"],
        ["predict", "--file", "x"],
        ["predict", "--input_file_path"],
        ["predict", "sample.json"],
        ["scenarios", "x"],
    ],
)
def test_wrong_options(args: list[str]) -> None:
    """Options that don't exist get the usage and exit code 2."""
    done = _signet(*args)
    assert done.returncode == 2
    assert done.stderr.startswith(b"usage: signet")


def test_help_names_every_option() -> None:
    """The help comes from the options' declarations."""
    done = _signet("predict", "--help")
    assert done.returncode == 0
    assert b"--input_file_path" in done.stdout
    assert b"registered model's" in done.stdout


def test_light() -> None:
    """The client needs neither torch nor MLflow nor pandas."""
    code = (
        "import sys, signet_client.__main__; print(sorted({'torch', 'mlflow', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"
