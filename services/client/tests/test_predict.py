from __future__ import annotations

import io
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from signet_client.errors import (
    ClientError,
    InputEmpty,
    InputIsNoFile,
    InputNotFound,
    InputUnreadable,
    InvalidSetting,
    ServerFailed,
    UnexpectedAnswer,
    UnknownDeployment,
)
from signet_client.predict import PredictOptions, predict
from signet_client.server import PredictionServer

if TYPE_CHECKING:
    from conftest import LocalServer, Reply

JSON = {"Content-Type": "application/json", "X-Model-Version": "1"}
SAMPLES = Path(__file__).parent.parent / "samples"


def _predict(server: LocalServer, path: Path | str = SAMPLES / "sample.json", name: str = "iris_classification") -> int:
    return predict(PredictOptions(str(path), name), PredictionServer(server.url, 5))


def test_prediction(local_server: LocalServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A label is printed in the seed's words, and the file went out byte for byte as JSON."""
    assert _predict(local_server) == 0
    assert capsys.readouterr() == ("Prediction Result SETOSA\n", "")
    (asked,) = local_server.asked
    assert (asked.method, asked.path) == ("POST", "/predictions/iris_classification")
    assert asked.body == (SAMPLES / "sample.json").read_bytes()
    assert asked.headers["Content-Type"] == "application/json"


def test_several_rows(local_server: LocalServer, reply: type[Reply], capsys: pytest.CaptureFixture[str]) -> None:
    """Several labels are printed as the server wrote them."""
    local_server.reply = reply(200, b'["SETOSA","VIRGINICA"]', JSON)
    assert _predict(local_server) == 0
    assert capsys.readouterr().out == 'Prediction Result ["SETOSA","VIRGINICA"]\n'


def test_rejection(local_server: LocalServer, reply: type[Reply], capsys: pytest.CaptureFixture[str]) -> None:
    """A 400's message is printed as MLflow's exception, and the exit code is 1."""
    message = "Incompatible input types for column sepal length (cm). Can not safely convert int64 to float64."
    local_server.reply = reply(400, json.dumps({"code": 400, "message": message}).encode(), JSON)
    assert _predict(local_server) == 1
    assert capsys.readouterr() == (f"mlflow.exceptions.MlflowException: {message}\n", "")


@pytest.mark.parametrize(
    ("name", "content_type"),
    [("a.JSON", "application/json"), ("a.csv", "text/csv"), ("a.txt", None), ("a", None)],
)
def test_content_type(local_server: LocalServer, tmp_path: Path, name: str, content_type: str | None) -> None:
    """The file's kind is its suffix; what has none is sent as curl -T would, without a Content-Type."""
    (tmp_path / name).write_bytes(b"x")
    assert _predict(local_server, tmp_path / name) == 0
    assert local_server.asked[0].headers.get("Content-Type") == content_type


def test_standard_input(local_server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file name - reads standard input."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b'{"data": []}')))
    assert _predict(local_server, "-") == 0
    assert local_server.asked[0].body == b'{"data": []}'


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("nowhere.json", InputNotFound, "Input file 'nowhere.json' does not exist. Expected a JSON or CSV file"),
        (__file__ + "/x", InputNotFound, "does not exist"),
        ("", InputIsNoFile, "Input file '' is a directory. Expected a JSON or CSV file"),
        (os.devnull, InputEmpty, "Input file '/dev/null' is empty. Expected rows as JSON or CSV."),
        ("a\0b", InputUnreadable, r"can't be read: embedded null byte. Expected a file that this user may read"),
        ("x" * 300, InputUnreadable, "File name too long"),
    ],
)
def test_no_such_input(local_server: LocalServer, path: str, error: type[ClientError], message: str) -> None:
    """Nothing is sent where there's nothing to send, and the message names the file."""
    with pytest.raises(error, match=message):
        _predict(local_server, path)
    assert not local_server.asked


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable_input(local_server: LocalServer, tmp_path: Path) -> None:
    """A file without read permission is named as such."""
    (tmp_path / "secret.json").touch(mode=0)
    with pytest.raises(InputUnreadable, match="Permission denied"):
        _predict(local_server, tmp_path / "secret.json")


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_no_deployment_name(local_server: LocalServer, name: str) -> None:
    """A name that would change the path is refused before anything is sent."""
    with pytest.raises(InvalidSetting, match=r"Setting --deployment_name has value '\.*'"):
        _predict(local_server, name=name)
    assert not local_server.asked


@pytest.mark.parametrize("kind", ["ModelNotFoundException", "ModelVersionNotFoundException"])
def test_unknown_deployment(local_server: LocalServer, reply: type[Reply], kind: str) -> None:
    """TorchServe's 404 becomes one line with the deployment and the address."""
    local_server.reply = reply(404, json.dumps({"code": 404, "type": kind, "message": "gone"}).encode(), JSON)
    with pytest.raises(UnknownDeployment, match=r"Deployment 'other' is not served at http://127\.0\.0\.1"):
        _predict(local_server, name="other")


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (500, b'{"code": 500, "message": "boom"}', "failed with status 500: boom. Expected 200"),
        (503, b"<html>", "failed with status 503: status 503, application/json: <html>. Expected 200"),
    ],
)
def test_server_fault(local_server: LocalServer, reply: type[Reply], status: int, body: bytes, message: str) -> None:
    """A 5xx is never shown as a rejection, whatever its body."""
    local_server.reply = reply(status, body, JSON)
    with pytest.raises(ServerFailed, match=message):
        _predict(local_server)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"", "text/plain"),
        (200, b"\xff\xfe", "text/plain"),
        (200, b"<html>MLflow</html>", "text/html"),
        (200, b"{", "application/json"),
        (302, b"", "text/plain"),
        (400, b"Bad Request", "text/plain"),
        (400, b'{"code": 400}', "application/json"),
        (404, b"<html>not found</html>", "text/html"),
        (404, b'{"type": "other"}', "application/json"),
        (413, b'{"code": 413, "message": "too long"}', "application/json"),
    ],
)
def test_strange_answer(local_server: LocalServer, reply: type[Reply], status: int, body: bytes, kind: str) -> None:
    """What the prediction server would never say is shown as it came, not taken for a prediction or a rejection."""
    local_server.reply = reply(status, body, {"Content-Type": kind})
    with pytest.raises(UnexpectedAnswer, match=rf"answered with status {status}, {kind}: .*Expected a prediction"):
        _predict(local_server)
