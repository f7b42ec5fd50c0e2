"""The process that gives verdicts, so that no worker loads MLflow and pandas: they take 120 MB and seconds.

One judge serves all workers of a TorchServe, over a Unix socket of their own. A worker without one (its socket is not
there, or the judge has just died) decides by itself: slower, and the same.

A question is three messages: the contract as JSON, the body as it came, and what it is (`payload.Source`). The answer
is JSON, a refusal or a description of arrays, and then each array in numpy's format. Nothing is pickled.
"""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from functools import lru_cache
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from signet_torchserve import payload as payloads
from signet_torchserve.errors import Problem, Refusal, SignatureMismatch
from signet_torchserve.feed import Feed
from signet_torchserve.payload import Payload

ADDRESS = "SIGNET_JUDGE"
"""Environment variable with the path of the judge's socket."""
TIMEOUT_S = 50


def decide(contract: dict[str, Any], payload: Payload) -> Feed:
    """The verdict on a payload: the judge's, or where there is none, that of this process.

    Args:
        contract: `inputs`, `outputs` and `params` of the signature, each a JSON text or None, and in `allow` the words
            of `relaxations` that hold.
        payload: what the contract is held against.

    Raises:
        Refusal: the signature does not admit the payload.
        TimeoutError: the judge takes longer than a request may.
    """
    if payload.source is None or ADDRESS not in os.environ:
        return _decide_here(contract, payload)
    try:
        return _ask(orjson.dumps(contract), payload.source)
    except (OSError, EOFError):
        _connection.cache_clear()
        return _decide_here(contract, payload)


def _decide_here(contract: dict[str, Any], payload: Payload) -> Feed:
    from signet_torchserve.verdict import decide as decided  # noqa: PLC0415 -- MLflow loads only where it is needed

    allow = frozenset(contract.get("allow", ()))
    return decided(contract["inputs"], contract.get("outputs"), contract.get("params"), payload, allow)


def _ask(contract: bytes, source: payloads.Source) -> Feed:
    connection = _connection(os.environ[ADDRESS])
    for message in (contract, source.text, orjson.dumps([source.is_form, source.is_csv])):
        connection.send_bytes(message)
    if not connection.poll(TIMEOUT_S):
        _connection.cache_clear()
        raise TimeoutError(f"The judge did not decide within {TIMEOUT_S} s.")
    answer = json.loads(connection.recv_bytes())
    if "message" in answer:
        raise SignatureMismatch(answer["message"], [Problem(**problem) for problem in answer["problems"]])
    arrays = [np.load(io.BytesIO(connection.recv_bytes()), allow_pickle=False) for _ in answer["inputs"]]
    inputs = arrays[0] if answer["inputs"] == [None] else dict(zip(answer["inputs"], arrays, strict=True))
    return Feed(inputs, answer["params"], answer["framed"])


@lru_cache(maxsize=1)
def _connection(address: str) -> Connection:
    return Client(address, family="AF_UNIX")


def main(address: str) -> None:
    """Give verdicts at the Unix socket `address` until this process is ended."""
    Path(address).unlink(missing_ok=True)
    os.umask(0o077)
    from signet_torchserve import verdict  # noqa: F401, PLC0415 -- loaded before the first question

    with Listener(address, family="AF_UNIX", backlog=64) as listener:
        while True:
            threading.Thread(target=_answer_all, args=(listener.accept(),), daemon=True).start()


def _answer_all(connection: Connection) -> None:
    """Answer one worker until it is gone."""
    try:
        while True:
            contract = orjson.loads(connection.recv_bytes())
            text = connection.recv_bytes()
            is_form, is_csv = orjson.loads(connection.recv_bytes())
            for message in _verdict(contract, payloads.Source(text, is_form=is_form, is_csv=is_csv)):
                connection.send_bytes(message)
    except (OSError, EOFError):
        connection.close()


def _verdict(contract: dict[str, Any], source: payloads.Source) -> list[bytes]:
    try:
        feed = _decide_here(contract, source.decode())
    except Refusal as refusal:
        return [orjson.dumps(refusal.as_document(), default=str, option=orjson.OPT_SERIALIZE_NUMPY)]
    named = feed.inputs if isinstance(feed.inputs, dict) else {None: feed.inputs}
    answer = {"inputs": list(named), "params": feed.params, "framed": feed.framed}
    # orjson would make null of a param that is infinite.
    return [json.dumps(answer, default=str).encode(), *map(_npy, named.values())]


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


if __name__ == "__main__":
    main(sys.argv[1])
