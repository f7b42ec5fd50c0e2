"""The worker's side of the enforcement service (`service`), so that no worker loads MLflow and pandas.

One service decides for all workers of a TorchServe, over two Unix sockets: one for small bodies, one for large ones, so
that no small one waits for a large one. A worker without a service decides in its own process (`Contract.enforce`),
with the same result; its other requests wait meanwhile.

Each question has a connection of its own. First the service sends an empty message: a process has taken the question.
Then the worker sends three: the contract as JSON; the body as it came; and a list that says what the body is
(`request.RawBody`), whether the worker has left it unread, and how many seconds are left. Its answer is JSON, a
rejection or a description of arrays, and then each array in numpy's format. Nothing is pickled.
"""

from __future__ import annotations

import io
import json
import os
import time
from multiprocessing.connection import Client, Connection
from pathlib import Path

import numpy as np
import orjson

from signet_contract.decoded_request import UNREAD, DecodedRequest
from signet_contract.errors import DecidedTooLate, SignatureMismatch, TooCostly, Violation
from signet_contract.model_input import ModelInput
from signet_contract.request import RawBody

ADDRESS = "SIGNET_ENFORCEMENT"
"""Environment variable with the path of the socket for small bodies."""
SMALL_BYTES = 1 << 16
"""The largest of the small bodies."""
START_S = 20
"""Seconds within which the service's processes must be there, if they have ended or have not started yet."""
_RETRY_S = 0.1


class EnforcementFailed(RuntimeError):
    """The service has not decided: its processes ended before, or one had a fault, whose traceback is the message."""


def can_ask(decoded: DecodedRequest) -> bool:
    """Whether there is a service that decides on a request, in the place of this process."""
    return decoded.source is not None and ADDRESS in os.environ


def ask(document: bytes, decoded: DecodedRequest, timeout_s: float, began: float | None = None) -> ModelInput:
    """The service's decision on a request.

    A process may end without a decision, as when the system ends it for its memory. Another request may be the cause,
    so this one is asked about once more.

    Args:
        document: the contract as JSON: `inputs`, `outputs` and `params` of the signature, each a JSON text or None, and
            in `policy` the words of `Policy` that hold.
        decoded: the request, which `can_ask` says yes to. Its content is dropped.
        timeout_s: how long the service has for the request.
        began: when this time began, by `time.monotonic`; None for now.

    Raises:
        Rejected: the signature does not admit the request.
        DecidedTooLate: the service has not decided in time.
        EnforcementFailed: a process reported a fault, two processes ended without a decision, or no service is running.
    """
    assert decoded.source is not None  # noqa: S101 -- what `can_ask` says, for mypy
    is_unread = decoded.content is UNREAD
    decoded.content = UNREAD  # else the content of a large body would be in memory twice: the service reads it, too
    deadline = (time.monotonic() if began is None else began) + timeout_s
    for _ in range(2):
        try:
            return _ask_once(document, decoded, decoded.source, deadline, is_unread=is_unread)
        except TimeoutError as error:
            raise DecidedTooLate(timeout_s) from error
        except (OSError, EOFError) as error:
            last = error
    if time.monotonic() > deadline - _RETRY_S:  # the service ends its process at the deadline, too
        raise DecidedTooLate(timeout_s)
    raise EnforcementFailed("Enforcement ended twice before it had decided on this request.") from last


def large_address(address: str) -> str:
    """The socket for large bodies beside the one for small ones."""
    return str(Path(address).with_suffix(".large"))


def _ask_once(
    document: bytes, decoded: DecodedRequest, source: RawBody, deadline: float, *, is_unread: bool
) -> ModelInput:
    address = os.environ[ADDRESS]
    with _taken(address if len(source.text) <= SMALL_BYTES else large_address(address), deadline) as connection:
        left_s = deadline - time.monotonic()
        for message in (document, source.text, orjson.dumps([source.is_csv, is_unread, left_s])):
            connection.send_bytes(message)
        _wait_for_message(connection, deadline)
        answer = json.loads(connection.recv_bytes())
        if "fault" in answer:
            raise EnforcementFailed(answer["fault"])
        if "too_costly" in answer:
            raise TooCostly(answer["too_costly"])
        if "message" in answer:
            violations = [Violation(**violation) for violation in answer["errors"]]
            raise SignatureMismatch(answer["message"], violations, answer.get("more_errors", 0))
        decoded.wrapped = answer["wrapped"]  # not known before if the body was not read
        arrays = [np.load(io.BytesIO(connection.recv_bytes()), allow_pickle=False) for _ in answer["inputs"]]
        inputs = arrays[0] if answer["inputs"] == [None] else dict(zip(answer["inputs"], arrays, strict=True))
        return ModelInput(inputs, answer["params"], answer["framed"])


def _wait_for_message(connection: Connection, deadline: float) -> None:
    left_s = deadline - time.monotonic()
    if left_s <= 0 or not connection.poll(left_s):
        raise TimeoutError


def _taken(address: str, deadline: float) -> Connection:
    """A connection that a process of the service has taken; the service may be about to start."""
    started_by = min(deadline, time.monotonic() + START_S)
    while True:
        try:
            connection = Client(address, family="AF_UNIX")
            _wait_for_message(connection, deadline)
            connection.recv_bytes()
        except TimeoutError:
            raise
        except (OSError, EOFError):
            if time.monotonic() > started_by:
                raise
            time.sleep(_RETRY_S)
        else:
            return connection
