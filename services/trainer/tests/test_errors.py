"""How `signet_trainer.errors` words what went wrong."""

import signal

from mlflow.exceptions import MlflowException
from requests import ConnectionError as RequestsConnectionError
from signet_trainer.errors import MlflowUnreachable, TrainingStopped, root_cause


def test_root_cause_prefers_the_operating_system() -> None:
    """Of three layers of wrapping, the reader gets the one that helps."""
    wrapped = RequestsConnectionError("HTTPConnectionPool(...)")
    wrapped.__cause__ = ConnectionRefusedError(111, "Connection refused")
    error = MlflowException("API request failed\nwith details")
    error.__cause__ = wrapped
    assert root_cause(error) == "[Errno 111] Connection refused"
    assert root_cause(ValueError("one\ntwo")) == "one"
    assert root_cause(KeyError()) == "KeyError"
    assert "http://x:1" in str(MlflowUnreachable("http://x:1", error))


def test_signals_become_exit_codes() -> None:
    """As shells count: 128 plus the signal's number."""
    assert TrainingStopped(signal.SIGTERM).exit_code == 143
