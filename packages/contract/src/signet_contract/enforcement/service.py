"""The enforcement service: processes forked from one that has loaded MLflow and pandas, whose memory they share.

Each process decides on one request at a time. It is ended at the request's deadline, and a request that takes more
memory than `MEMORY_BYTES` is rejected. A process for small bodies stays. One for large bodies ends with its request,
and so gives its memory back.
"""

from __future__ import annotations

import gc
import io
import json
import os
import signal
import sys
import time
import traceback
from functools import lru_cache
from multiprocessing.connection import Listener
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from signet_contract import os_compat
from signet_contract.contract import Contract
from signet_contract.decoded_request import DecodedRequest
from signet_contract.enforcement import service_client
from signet_contract.errors import Rejected
from signet_contract.request import RawBody

MEMORY_BYTES = 768 << 20
"""What a process may take for a request, beyond what it has loaded; `bench.wrong` shows what large bodies take."""
FEWEST, MOST = 2, 4  # processes at each of the two sockets; between these, one for each core
_BACKLOG = 1024
_PAUSE_S = 0.1
_LARGE_NICENESS = 10  # large bodies take seconds anyway, and leave the cores to small ones


def main(address: str, memory_bytes: int = MEMORY_BYTES) -> None:
    """Decide at the Unix socket `address`, and the one beside it, until this process is ended.

    Args:
        address: path of the socket.
        memory_bytes: what a process may take for a request, beyond what it has loaded.
    """
    os.umask(0o077)
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # its own reserves a gigabyte, which counts as taken
    from signet_contract.enforcement import decision  # noqa: F401, PLC0415 -- loaded before the first fork

    gc.freeze()  # else a look for garbage would copy every page into each fork
    count = min(max(FEWEST, os_compat.cores()), MOST)
    small, large = _listener(address), _listener(service_client.large_address(address))
    listener_of: dict[int, Listener] = {}  # by process id

    def fork(listener: Listener) -> None:
        listener_of[_forked(memory_bytes, listener, is_large=listener is large)] = listener

    for listener in (small, large) * count:
        fork(listener)
    while True:
        pid, status = os.wait()
        if status:  # ended at a deadline, by the system, or by a fault that may come again at once
            time.sleep(_PAUSE_S)
        fork(listener_of.pop(pid))


def _listener(address: str) -> Listener:
    Path(address).unlink(missing_ok=True)
    return Listener(address, family="AF_UNIX", backlog=_BACKLOG)


def _forked(memory_bytes: int, listener: Listener, *, is_large: bool) -> int:
    """Process id of a new enforcement process."""
    set_death_signal = os_compat.parent_death_signal(signal.SIGKILL)
    if pid := os.fork():
        return pid
    status = 1
    try:
        set_death_signal()
        os_compat.limit_memory(memory_bytes)
        if is_large:
            os.nice(_LARGE_NICENESS)
            gc.disable()
        while True:
            decided = _decide_one(listener)  # noqa: F841 -- kept: to free millions of values takes longer than to end
            if is_large:
                status = 0
                break
    except Exception:  # noqa: BLE001 -- the edge of this process
        traceback.print_exc()
    finally:
        os._exit(status)


def _decide_one(listener: Listener) -> DecodedRequest | None:
    """Answer one question, and return its request; a decision that takes longer than allowed ends this process."""
    decoded = None
    with listener.accept() as connection:
        try:
            connection.send_bytes(b"")  # the question is taken; service_client has the protocol
            document, text = connection.recv_bytes(), connection.recv_bytes()
            is_csv, is_unread, left_s = orjson.loads(connection.recv_bytes())
            signal.setitimer(signal.ITIMER_REAL, max(left_s, 0.001))  # its signal, which nobody handles, ends us
            decoded = RawBody(text, is_csv=is_csv).unread()
            for message in _answered(document, decoded, len(text), is_unread=is_unread):
                connection.send_bytes(message)
        except (OSError, EOFError):  # who asked is gone
            pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    return decoded


def _answered(document: bytes, decoded: DecodedRequest, size: int, *, is_unread: bool) -> list[bytes]:
    """The answer about a request of `size` bytes, as messages; `document` and `is_unread` as the worker sent them."""
    try:
        model_input = _contract(document).enforce_here(decoded, is_unread=is_unread)
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


@lru_cache(maxsize=8)
def _contract(document: bytes) -> Contract:
    parts = orjson.loads(document)
    return Contract(parts, parts["policy"])


def _is_for_memory(error: BaseException | None) -> bool:
    """Whether a lack of memory is behind the error, be it one that MLflow takes for the client's mistake."""
    while error is not None and not isinstance(error, MemoryError):
        error = error.__cause__ or error.__context__
    return error is not None


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


if __name__ == "__main__":
    main(sys.argv[1])
