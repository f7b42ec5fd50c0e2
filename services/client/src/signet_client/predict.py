"""`signet predict`: sends one file to the server, and prints the answer in the words of the seed's predict.py."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from signet_client.errors import (
    InputEmpty,
    InputIsNoFile,
    InputNotFound,
    InputUnreadable,
    InvalidSetting,
    ServerFailed,
    UnexpectedAnswer,
    UnknownDeployment,
)

if TYPE_CHECKING:
    from signet_client.server import Answer, PredictionServer

_STDIN = "-"
_CONTENT_TYPES = {".json": "application/json", ".csv": "text/csv"}
_OK, _BAD_REQUEST, _NOT_FOUND, _SERVER_ERROR = 200, 400, 404, 500


@dataclass(frozen=True)
class PredictOptions:
    """Ask for the prediction of one file and print the answer.

    Prints `Prediction Result …` (exit code 0) or, for a rejection, MLflow's message (exit code 1). What keeps the
    client from an answer is one line on standard error (exit code 2).

    Args:
        input_file_path: The request's body, sent as it is: a .json or .csv file, or - for standard input.
        deployment_name: The deployment to ask, which is the registered model's name.
    """

    input_file_path: str = "sample.json"
    deployment_name: str = "iris_classification"


def predict(options: PredictOptions, server: PredictionServer) -> int:
    """Print the answer and return the exit code: 0 for a prediction, 1 for a rejection. Raises ClientError."""
    if not options.deployment_name.strip("."):  # "." and ".." would vanish from the URL's path
        raise InvalidSetting("--deployment_name", options.deployment_name, "a registered model's name")
    body = _read(options.input_file_path)
    content_type = _CONTENT_TYPES.get(Path(options.input_file_path).suffix.lower())
    answer = ask(server, options.deployment_name, body, content_type)
    if answer.status == _OK:
        print(f"Prediction Result {answer.text.strip()}")
        return 0
    print(f"mlflow.exceptions.MlflowException: {answer.message}")
    return 1


def ask(server: PredictionServer, deployment: str, body: bytes, content_type: str | None) -> Answer:
    """The server's prediction (status 200) or its rejection (400, with a message). Raises ClientError for all else."""
    answer = server.ask(deployment, body, {"Content-Type": content_type} if content_type else None)
    if (answer.status == _OK and _is_prediction(answer)) or (answer.status == _BAD_REQUEST and answer.message):
        return answer
    address = server.address(deployment)
    if is_unknown_deployment(answer):
        raise UnknownDeployment(deployment, server.url)
    if answer.status >= _SERVER_ERROR:
        raise ServerFailed(address, answer.status, answer.message or answer.summary())
    raise UnexpectedAnswer(address, answer.summary())


def is_unknown_deployment(answer: Answer) -> bool:
    """Whether this is TorchServe's 404; something else at the address may answer 404, too."""
    document = answer.document
    kind = document.get("type") if isinstance(document, dict) else None
    return answer.status == _NOT_FOUND and kind in {"ModelNotFoundException", "ModelVersionNotFoundException"}


def _is_prediction(answer: Answer) -> bool:
    """Whether the answer may be a prediction: text or valid JSON, but no web page."""
    try:
        text = answer.body.decode("utf-8").strip()
    except UnicodeDecodeError:
        return False
    broken_json = answer.media_type == "application/json" and answer.document is None
    return bool(text) and answer.media_type != "text/html" and not broken_json


def _read(path: str) -> bytes:
    """Read the whole input, byte for byte. Raises InputError."""
    try:
        content = sys.stdin.buffer.read() if path == _STDIN else Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputNotFound(path) from error
    except IsADirectoryError as error:
        raise InputIsNoFile(path) from error
    except OSError as error:
        raise InputUnreadable(path, error.strerror or str(error)) from error
    except ValueError as error:  # a NUL in the name
        raise InputUnreadable(path, str(error)) from error
    if not content.strip():
        raise InputEmpty(path)
    return content
