"""TorchServe's frontend, made to batch what is queued without making a lone request wait: two bytes of one class.

`Model.pollBatch` takes the first request of the queue and then, up to `batch_size`, those that come within
`max_batch_delay` milliseconds. So a request that is alone waits out the delay, and with a delay of 0 the loop ends
after the second request, for `if (maxDelay <= 0) break` comes after each. Left out, a delay of 0 means: take all that
is queued, wait for nothing. TorchServe 0.12 is the last; nobody is left to make the change upstream.

Requests per second of a no-op handler at 1, 8 and 64 connections, one worker, two cores:

| batch_size | max_batch_delay  |     1 |      8 |     64 |
| ---------- | ---------------- | ----- | ------ | ------ |
|          1 |                0 | 3,980 |  6,120 |  6,130 |
|         32 |             1 ms |   690 |  4,680 | 21,190 |
|         32 |     0, as it was | 3,860 |  9,120 |  9,170 |
|         32 |     0, as it is  | 3,660 | 12,780 | 21,070 |

Source: https://github.com/pytorch/serve/blob/v0.12.0/frontend/server/src/main/java/org/pytorch/serve/wlm/Model.java
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import ts

JARS = Path(ts.__file__).with_name("frontend")
_CLASS = "org/pytorch/serve/wlm/Model.class"

# lload maxDelay, lconst_0, lcmp, ifgt (next request), goto (end): after each request, is there time left?
_ASKS = bytes.fromhex("1606 09 94 9d0006 a7")
# lload maxDelay, pop2, iconst_1, ifgt (next request), goto (end): there always is.
_GOES_ON = bytes.fromhex("1606 58 04 9d0006 a7")


def classpath(folder: Path) -> str:
    """Java class path of the frontend, with the class that was changed before those that TorchServe ships.

    Args:
        folder: where to write that class.

    Raises:
        RuntimeError: this TorchServe's class is not that of 0.12.0.
    """
    with zipfile.ZipFile(JARS / "model-server.jar") as jar:
        shipped = jar.read(_CLASS)
    if shipped.count(_ASKS) != 1:
        raise RuntimeError(f"TorchServe's {_CLASS} is not the one of 0.12.0, whose batching is known: install 0.12.0.")
    changed = folder / _CLASS
    changed.parent.mkdir(parents=True, exist_ok=True)
    changed.write_bytes(shipped.replace(_ASKS, _GOES_ON))
    return f"{folder}:{JARS}/*"
