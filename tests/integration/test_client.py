"""The command `signet`, as a person types it.

What it says of a file, an option or a server is the same program's word on both stacks, so that is asked on one. Its
container adds the way to the predictions, which the scenarios and the pages' commands take, and standard input.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from testing.ports import free_port
from testing.repository import MODEL, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embedded_stack import EmbeddedStack
    from stack import Stack

WRONG_COLUMNS = (
    "mlflow.exceptions.MlflowException: Model is missing inputs"
    " ['sepal length (cm)', 'sepal width (cm)', 'petal length (cm)', 'petal width (cm)']."
    " Note that there were extra inputs: ['length (cm)', 'width (cm)']"
)
WRONG_TYPES = (
    "mlflow.exceptions.MlflowException: Incompatible input types for column sepal length (cm)."
    " Can not safely convert int64 to float64."
)


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("name", "line", "exit_code"),
    [
        ("sample.json", "Prediction Result SETOSA", 0),
        ("sig_invalid_column_name.json", WRONG_COLUMNS, 1),
        ("sig_invalid_data_type.json", WRONG_TYPES, 1),
    ],
)
def test_the_seeds_lines(stack: Stack, name: str, line: str, exit_code: int) -> None:
    """The three sample files print the seed's own lines."""
    done = stack.client("predict", "--input_file_path", name)
    assert (done.stdout.rstrip(".\n"), done.returncode) == (line.rstrip("."), exit_code), done.stderr


def test_standard_input(stack: Stack) -> None:
    """The file name - sends standard input."""
    rows = {"dataframe_split": json.loads((SAMPLES / "sample.json").read_text("utf-8")) and _two_rows()}
    done = stack.client("predict", "--input_file_path", "-", stdin=json.dumps(rows))
    assert (done.returncode, done.stdout) == (0, 'Prediction Result {"predictions":["SETOSA","SETOSA"]}\n'), done.stderr


def _two_rows() -> dict[str, object]:
    columns = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
    return {"columns": columns, "data": [[5.1, 3.5, 1.4, 0.2], [4.4, 3.2, 1.3, 0.2]]}


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--input_file_path", "nowhere.json"],
            "Input file 'nowhere.json' does not exist. Expected a JSON or CSV file",
        ),
        (["--input_file_path", "/"], "Input file '/' is a directory. Expected a JSON or CSV file"),
        (["--deployment_name", "no_such"], "Deployment 'no_such' is not served at http://"),
    ],
)
def test_what_cannot_work(stack: Stack, args: list[str], message: str) -> None:
    """An unknown file, a directory and an unknown deployment are one clear line and exit code 2."""
    done = stack.client("predict", *args)
    assert done.returncode == 2, done.stdout
    assert done.stdout == ""
    assert _line(done.stderr).startswith(f"signet: {message}")


@pytest.mark.embedded
@pytest.mark.parametrize("command", ["predict", "scenarios"])
def test_server_is_down(processes: EmbeddedStack, command: str) -> None:
    """A server that is down is one clear line and exit code 2."""
    url = f"http://127.0.0.1:{free_port()}"
    done = processes.client(command, url=url)
    assert done.returncode == 2, done.stdout
    assert _line(done.stderr) == (
        f"signet: No answer from {url}/predictions/{MODEL}: Connection refused."
        " Expected the prediction server there (SIGNET_URL)."
    )


def _line(stderr: str) -> str:
    """The client's one line."""
    (line,) = stderr.splitlines()
    return line


@pytest.mark.embedded
@pytest.mark.parametrize("args", [["predict", "--bogus"], ["predikt"], ["predict", "sample.json"]])
def test_bad_options(stack: Stack, args: list[str]) -> None:
    """Options that don't exist are exit code 2."""
    assert stack.client(*args).returncode == 2


@pytest.fixture
def mislaid_server() -> Iterator[str]:
    """Some other web server on the prediction server's address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.embedded
def test_other_server(processes: EmbeddedStack, mislaid_server: str) -> None:
    """A web page is no prediction: exit code 2, and the line shows what came instead."""
    done = processes.client("predict", url=mislaid_server)
    assert (done.returncode, done.stdout) == (2, "")
    assert "answered with status 200, text/html: <html>hello</html>" in done.stderr
