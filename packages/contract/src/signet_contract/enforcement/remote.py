"""Enforcement by other processes, so that no worker loads MLflow and pandas.

One enforcement service (`service`) decides for all workers of a TorchServe, over two Unix sockets: one for small
bodies, one for large ones, so that no small one waits for a large one. A worker without an enforcement service decides
in its own process, with the same result; its other requests wait meanwhile.

Each question has a connection of its own. The process that takes it says so, with an empty message, and then is sent
three messages: the contract as JSON; the body as it came; and a list that says what the body is (`request.RawBody`),
whether the worker has left it unread, and how many seconds are left. Its answer is JSON, a rejection or a description
of arrays, and then each array in numpy's format. Nothing is pickled.
"""

from __future__ import annotations

import io
import json
import os
import time
import traceback
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from signet_contract.decoded_request import DecodedRequest
from signet_contract.errors import DecidedTooLate, EnforcementMissing, Rejected, SignatureMismatch, TooCostly, Violation
from signet_contract.model_input import ModelInput
from signet_contract.request import RawBody

ADDRESS = "SIGNET_ENFORCEMENT"
"""Environment variable with the path of the socket for small bodies."""
SMALL_BYTES = 1 << 16
"""The largest of the small bodies."""
START_S = 20
"""Seconds in which processes that have ended, or have not started yet, must be there."""
_RETRY_S = 0.1


class EnforcementEnded(RuntimeError):
    """An enforcement process ended before it had decided."""


class EnforcementFailed(RuntimeError):
    """An enforcement process could not decide; the message is its traceback."""


def decides(decoded: DecodedRequest) -> bool:
    """Whether the enforcement service decides on a request, and not this process."""
    return decoded.source is not None and ADDRESS in os.environ


def decide(
    contract: dict[str, Any], decoded: DecodedRequest, timeout_s: float, began: float | None = None
) -> ModelInput:
    """The decision on a request.

    Where a process ends without a decision, as when the system ends it for its memory, another request may have been
    the cause: this one is asked about once more.

    Args:
        contract: `inputs`, `outputs` and `params` of the signature, each a JSON text or None, and in `policy` the words
            of `Policy` that hold.
        decoded: what the contract is held against.
        timeout_s: how long the service has for it.
        began: since when, of `time.monotonic`; now if None.

    Raises:
        Rejected: the signature does not admit the request.
        DecidedTooLate: the service has not decided in time.
        EnforcementEnded: two of them ended without a decision, or there is none.
        EnforcementFailed: one found no decision.
    """
    if not decides(decoded):
        return decide_here(contract, decoded, is_unread=decoded.content is None)
    assert decoded.source is not None  # noqa: S101 -- what `decides` says, for mypy
    is_unread = decoded.content is None
    decoded.content = None  # it is read again from its source, and a large one would be held twice
    deadline = (time.monotonic() if began is None else began) + timeout_s
    try:
        for _ in range(2):
            try:
                return _ask(orjson.dumps(contract), decoded, decoded.source, deadline, is_unread=is_unread)
            except (OSError, EOFError) as error:
                if isinstance(error, TimeoutError):
                    raise
                last = error
    except TimeoutError as error:
        raise DecidedTooLate(timeout_s) from error
    if time.monotonic() > deadline - _RETRY_S:  # the service itself keeps the time too
        raise DecidedTooLate(timeout_s)
    raise EnforcementEnded("Enforcement ended twice before it had decided on this request.") from last


def decide_here(contract: dict[str, Any], decoded: DecodedRequest, *, is_unread: bool) -> ModelInput:
    """The decision of this process; what was not read before may be right on the fast path."""
    from signet_contract.contract import Contract  # noqa: PLC0415 -- which asks this module

    try:
        from signet_contract.enforcement import decision  # noqa: PLC0415 -- MLflow loads only where it is needed
    except ModuleNotFoundError as error:
        raise EnforcementMissing(error.name) from error

    policy = frozenset(contract.get("policy", ()))
    parts = contract["inputs"], contract.get("outputs"), contract.get("params")
    exact = decision.exact(*parts, decoded, policy, has_arrays=not is_unread)
    decoded.content, decoded.wrapped = exact.content, exact.wrapped
    model_input = Contract(contract, policy).fast_path(exact) if is_unread else None
    if model_input is not None:
        return model_input
    return decision.decide(*parts, exact, policy)


def large_address(address: str) -> str:
    """The socket for large bodies beside the one for small ones."""
    return str(Path(address).with_suffix(".large"))


def _ask(contract: bytes, decoded: DecodedRequest, source: RawBody, deadline: float, *, is_unread: bool) -> ModelInput:
    address = os.environ[ADDRESS]
    with _taken(address if len(source.text) <= SMALL_BYTES else large_address(address), deadline) as connection:
        left_s = deadline - time.monotonic()
        for message in (contract, source.text, orjson.dumps([source.is_csv, is_unread, left_s])):
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
        decoded.wrapped = answer["wrapped"]  # which it does not know if it was not read
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


def answered(contract: dict[str, Any], decoded: DecodedRequest, size: int, *, is_unread: bool) -> list[bytes]:
    """The service's answer about a request of `size` bytes, as messages; `is_unread`: the worker has not read it."""
    try:
        model_input = decide_here(contract, decoded, is_unread=is_unread)
        named = model_input.inputs if isinstance(model_input.inputs, dict) else {None: model_input.inputs}
        answer = {
            "inputs": list(named),
            "params": model_input.params,
            "framed": model_input.framed,
            "wrapped": decoded.wrapped,
        }
        # orjson would make null of a param that is infinite.
        return [json.dumps(answer, default=str).encode(), *map(_npy, named.values())]
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is that request's own
        if _is_for_memory(error):
            return [orjson.dumps({"too_costly": size})]
        if isinstance(error, Rejected):
            return [orjson.dumps(error.document(), default=str, option=orjson.OPT_SERIALIZE_NUMPY)]
        return [orjson.dumps({"fault": traceback.format_exc()})]


def _is_for_memory(error: BaseException | None) -> bool:
    """Whether memory was the reason: MLflow takes it for the client's mistake."""
    while error is not None and not isinstance(error, MemoryError):
        error = error.__cause__ or error.__context__
    return error is not None


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
