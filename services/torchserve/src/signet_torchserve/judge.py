"""Enforcement by other processes, so that no worker loads MLflow and pandas: they take 120 MB and seconds.

The judges of a TorchServe (`judges`) decide for all its workers, over two Unix sockets: one for small bodies, one for
large ones, so that these keep none of those waiting. A worker that was told of none decides by itself: the same, but
while it does, its other requests wait.

Each question has a connection of its own. The judge that takes it says so, with an empty message, and then is sent
three: the contract as JSON, the body as it came, and what it is (`payload.Source`), whether the worker has not read it,
and the seconds left. Its answer is JSON, a refusal or a description of arrays, and then each array in numpy's format.
Nothing is pickled.
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

from signet_torchserve import payload as payloads
from signet_torchserve.errors import DecidedTooLate, Problem, Refusal, SignatureMismatch, TooCostly
from signet_torchserve.feed import Feed
from signet_torchserve.payload import Payload

ADDRESS = "SIGNET_JUDGE"
"""Environment variable with the path of the socket for small bodies."""
SMALL_BYTES = 1 << 16
"""The largest of the small bodies."""
START_S = 20
"""Seconds in which judges that have ended, or have not started yet, must be there."""
_RETRY_S = 0.1


class JudgeEnded(RuntimeError):
    """A judge ended before it had decided."""


class JudgeFailed(RuntimeError):
    """A judge could not decide; the message is its traceback."""


def decides(payload: Payload) -> bool:
    """Whether judges decide on a payload, and not this process."""
    return payload.source is not None and ADDRESS in os.environ


def decide(contract: dict[str, Any], payload: Payload, timeout_s: float, began: float | None = None) -> Feed:
    """The decision on a payload.

    A judge that ends without one, as when the system ends it for its memory, was perhaps not ended by this payload: it
    is asked about once more.

    Args:
        contract: `inputs`, `outputs` and `params` of the signature, each a JSON text or None, and in `allow` the words
            of `relaxations` that hold.
        payload: what the contract is held against.
        timeout_s: how long the judges have for it.
        began: since when, of `time.monotonic`; now if None.

    Raises:
        Refusal: the signature does not admit the payload.
        DecidedTooLate: the judges have not decided in time.
        JudgeEnded: two of them ended without a decision, or there is none.
        JudgeFailed: one found no decision.
    """
    if not decides(payload):
        return decide_here(contract, payload, is_unread=payload.content is None)
    assert payload.source is not None  # noqa: S101 -- what `decides` says, for mypy
    is_unread, payload.content = (
        payload.content is None,
        None,
    )  # it is read again from there, and a large one would be held twice
    deadline = (time.monotonic() if began is None else began) + timeout_s
    try:
        for _ in range(2):
            try:
                return _ask(orjson.dumps(contract), payload, payload.source, deadline, is_unread=is_unread)
            except (OSError, EOFError) as error:
                if isinstance(error, TimeoutError):
                    raise
                last = error
    except TimeoutError as error:
        raise DecidedTooLate(timeout_s) from error
    if time.monotonic() > deadline - _RETRY_S:  # the judge itself keeps the time too
        raise DecidedTooLate(timeout_s)
    raise JudgeEnded("A judge ended twice before it had decided on this request.") from last


def decide_here(contract: dict[str, Any], payload: Payload, *, is_unread: bool) -> Feed:
    """The decision of this process; what was not read before may be surely valid."""
    from signet_torchserve import verdict  # noqa: PLC0415 -- MLflow loads only where it is needed
    from signet_torchserve.signature import Signature  # noqa: PLC0415 -- which asks this module

    allow = frozenset(contract.get("allow", ()))
    parts = contract["inputs"], contract.get("outputs"), contract.get("params")
    if payload.source is not None:
        verdict.refuse_long(*parts, payload.source, allow)
    exact = payload.exact()
    payload.content, payload.wrapped = exact.content, exact.wrapped
    feed = Signature(contract, allow).surely_valid(exact) if is_unread else None
    if feed is not None:
        return feed
    return verdict.decide(*parts, exact, allow)


def large_address(address: str) -> str:
    """The socket for large bodies beside the one for small ones."""
    return str(Path(address).with_suffix(".large"))


def _ask(contract: bytes, payload: Payload, source: payloads.Source, deadline: float, *, is_unread: bool) -> Feed:
    address = os.environ[ADDRESS]
    with _taken(address if len(source.text) <= SMALL_BYTES else large_address(address), deadline) as connection:
        left_s = deadline - time.monotonic()
        for message in (contract, source.text, orjson.dumps([source.is_form, source.is_csv, is_unread, left_s])):
            connection.send_bytes(message)
        _wait_for_message(connection, deadline)
        answer = json.loads(connection.recv_bytes())
        if "fault" in answer:
            raise JudgeFailed(answer["fault"])
        if "too_costly" in answer:
            raise TooCostly(answer["too_costly"])
        if "message" in answer:
            problems = [Problem(**problem) for problem in answer["problems"]]
            raise SignatureMismatch(answer["message"], problems, answer["more"])
        payload.wrapped = answer["wrapped"]  # which it does not know if it was not read
        arrays = [np.load(io.BytesIO(connection.recv_bytes()), allow_pickle=False) for _ in answer["inputs"]]
        inputs = arrays[0] if answer["inputs"] == [None] else dict(zip(answer["inputs"], arrays, strict=True))
        return Feed(inputs, answer["params"], answer["framed"])


def _wait_for_message(connection: Connection, deadline: float) -> None:
    left_s = deadline - time.monotonic()
    if left_s <= 0 or not connection.poll(left_s):
        raise TimeoutError


def _taken(address: str, deadline: float) -> Connection:
    """A connection that a judge has taken; the judges may be about to start."""
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


def answered(contract: dict[str, Any], payload: Payload, size: int, *, is_unread: bool) -> list[bytes]:
    """A judge's answer about a payload of so many bytes, that the worker has perhaps not read, as messages."""
    try:
        feed = decide_here(contract, payload, is_unread=is_unread)
        named = feed.inputs if isinstance(feed.inputs, dict) else {None: feed.inputs}
        answer = {"inputs": list(named), "params": feed.params, "framed": feed.framed, "wrapped": payload.wrapped}
        # orjson would make null of a param that is infinite.
        return [json.dumps(answer, default=str).encode(), *map(_npy, named.values())]
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is that request's own
        if _is_for_memory(error):
            return [orjson.dumps({"too_costly": size})]
        if isinstance(error, Refusal):
            return [orjson.dumps(error.as_document(), default=str, option=orjson.OPT_SERIALIZE_NUMPY)]
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
