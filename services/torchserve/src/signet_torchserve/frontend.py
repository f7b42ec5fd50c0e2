"""TorchServe's frontend, with a few bytes of six classes changed: TorchServe 0.12 is the last, and it is pinned.

**A batch is what is queued; nobody waits.** `Model.pollBatch` takes the first request of the queue and then, up to
`batch_size`, those that come within `max_batch_delay` milliseconds. So a request that is alone waits out the delay, and
with a delay of 0 the loop ends after the second request, for `if (maxDelay <= 0) break` comes after each. Left out, a
delay of 0 means: take all that is queued, wait for nothing. Requests per second of a no-op handler, one worker, two
cores, at 1, 8 and 64 connections:

| batch_size | max_batch_delay  |     1 |      8 |     64 |
| ---------- | ---------------- | ----- | ------ | ------ |
|          1 |                0 | 3,980 |  6,120 |  6,130 |
|         32 |             1 ms |   690 |  4,680 | 21,190 |
|         32 |     0, as it was | 3,860 |  9,120 |  9,170 |
|         32 |     0, as it is  | 3,660 | 12,780 | 21,070 |

**Who is undecided keeps nobody waiting.** A `BatchAggregator` waits for the answers to all requests of a batch, and its
worker gets no other batch meanwhile. `ContinuousBatching`, meant for models that answer token by token, keeps a request
until it is answered, and names it to the worker again with the next batch, without its body. So every model gets that
one. There a request of which the worker says that it goes on (`ts_stream_next`) is sent a part of its answer; now none
is sent if the part has the status 102 (Processing), where a request is dropped whose client has waited too long, which
here none does. And requests that are kept take no place of new ones: a batch has up to `batch_size` of these. A worker
that is idle waits for a request while it holds a lock, on which another one that keeps some would wait, too, until a
new request comes: `Model.pollInferJob` takes no lock any more, for the queue has its own.

**A refusal does not cost the connection.** `NettyUtils.sendHttpResponse` closes it after every status from 400 on, so a
client whose request was refused connects anew for each. Now it closes it after those beyond 400: refusals went from
half the rate of predictions to nearly the same.

**What cannot be decoded is the client's fault.** `HttpRequestHandler.channelRead0` answers 500 to every exception that
it does not name: also to Netty's `DecoderException`, which a form with a bad %-escape raises, or a part without a name.
Where it names the exception of a download, of which `allowed_urls` permits none, it now names that one, and so goes on
as after a `BadRequestException`: 400. So it does after an `IllegalArgumentException`, which a path with a bad %-escape
raises and which got a 403.

**To deploy keeps nobody waiting.** The management API unzips an archive, and waits for its workers, in one of the few
threads that serve all clients: a quarter of 16 connections, on two cores, stood still for as long as a worker took to
start. `ModelServer.startRESTserver` gives the metrics API a thread of its own, and the management API one of the
clients': now it is the other way round. (Without `enable_metrics_api`, which is on by default, there would be no
management API.)

**There is no gRPC.** Nobody asks for it, and its management port, on the machine's loopback, would let every user of
the machine register and delete models. `ModelServer.startAndWait` does not call `startGRPCServers` any more.

**A full queue says that it is full.** TorchServe answers 503 "has no worker … scale workers" both where a version has
no worker and where its queue is full. `Model.addJob` now calls the queue's `add` in place of `offer`, so that a full
queue raises an `IllegalStateException`; `HttpRequestHandler.channelRead0` answers that with a 429 where it answered an
`OutOfMemoryError`, which ends this Java anyway. `java/signet/Errors.java` words it, with Retry-After. So a gateway can
tell what to ask of another replica (404, 503: the version is not there) from what would only multiply an overload.

**An answer is not lost with its connection.** `ModelServer.initializeServer` sets SO_LINGER to 0, so that what closes a
connection resets it: the 429, or 404, just sent may be lost on its way. Now connections are closed as usual.

**A time-out is a 504.** `WorkerThread.run` says 500 "Worker died." of a worker that died with a request, and of one
that it ends because the request takes too long. The latter is a 504 now: another replica would lose a worker, too.

Source: https://github.com/pytorch/serve/tree/v0.12.0/frontend/server/src/main/java/org/pytorch/serve
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import ts

JARS = Path(ts.__file__).with_name("frontend")
OURS = Path(__file__).with_name("java")


def _text(text: str) -> bytes:
    """A text of a class's constant pool, such as another class's name."""
    return b"\x01" + len(text).to_bytes(2) + text.encode()


# Of each class, some bytes and what takes their place; the change stands between the bars.
_CHANGES = {
    "org/pytorch/serve/wlm/Model.class": [
        (
            # lload maxDelay | lconst_0, lcmp | ifgt (next request), goto (end): is there time left?
            bytes.fromhex("1606 0994 9d0006 a7"),
            # lload maxDelay | pop2, iconst_1 | ifgt (next request), goto (end): there always is.
            bytes.fromhex("1606 5804 9d0006 a7"),
        ),
        (
            # The same in pollInferJob.
            bytes.fromhex("1605 0994 9d0006 a7"),
            bytes.fromhex("1605 5804 9d0006 a7"),
        ),
        (
            # incNumJobTickets, pop, | aload this, getfield lock, invokevirtual lockInterruptibly, | aload, getfield
            bytes.fromhex("b6022d 57 2a b40100 b601b8 2a b400ef 12f2"),
            # … | seven times nop | … (who does not hold the lock does not unlock it either)
            bytes.fromhex("b6022d 57 00 000000 000000 2a b400ef 12f2"),
        ),
        (_text("offer"), _text("add")),
    ],
    "org/pytorch/serve/wlm/WorkLoadManager.class": [
        (
            # aload model, invokevirtual isContinuousBatching, | ifeq (other aggregators), | new ContinuousBatching
            bytes.fromhex("2c b6014f 990010 bb015a"),
            # … | pop, nop, nop | …
            bytes.fromhex("2c b6014f 570000 bb015a"),
        )
    ],
    "org/pytorch/serve/wlm/ContinuousBatching.class": [
        (
            # invokevirtual getBatchSize, | aload this, getfield jobs, invokeinterface size, isub, | istore
            bytes.fromhex("b6000d 2a b40013 b900170100 64 3e"),
            # … | ten times nop | …
            bytes.fromhex("b6000d" + 10 * "00" + "3e"),
        ),
        (
            # aload job, getPayload, getClientExpireTS, invokestatic currentTimeMillis, lcmp, ifle (no response)
            bytes.fromhex("1905 b60050 b600a9 b800ad 94 9e001f"),
            # aload prediction, getStatusCode, sipush 102, five times nop, if_icmpeq (no response)
            bytes.fromhex("2d b600b9 110066 0000000000 9f001f"),
        ),
    ],
    "org/pytorch/serve/wlm/WorkerThread.class": [
        (
            # invokevirtual incrFailedInfReqs, | istore 17, and a line of the log | new WorkerInitializationException
            bytes.fromhex("b6019e 3611 b200ca 1301a1 1511 b80155 b901a30300 bb01a5"),
            # invokevirtual incrFailedInfReqs, | pop, nop, sipush 504, istore_2 (the status), 12 nop | new …
            bytes.fromhex("b6019e 57 00 1101f8 3d 000000000000000000000000 bb01a5"),
        )
    ],
    "org/pytorch/serve/job/RestJob.class": [(_text("org/pytorch/serve/util/NettyUtils"), _text("signet/Errors"))],
    "org/pytorch/serve/util/NettyUtils.class": [
        (
            # ifeq (close), iload code, sipush 400, | if_icmplt | (keep)
            bytes.fromhex("99000b 1507 110190 a1 0026"),
            # ifeq (close), iload code, sipush 400, | if_icmple | (keep)
            bytes.fromhex("99000b 1507 110190 a4 0026"),
        )
    ],
    "org/pytorch/serve/ModelServer.class": [
        # getstatic SO_LINGER, | iconst_0 (reset at once) or iconst_m1 (as usual) | invokestatic Integer.valueOf
        (bytes.fromhex("b2 01f0 03 b801c6"), bytes.fromhex("b2 01f0 02 b801c6")),
        # getstatic | 600 (MANAGEMENT_CONNECTOR) or 631 (METRICS_CONNECTOR) | each time
        # invokevirtual getListener, astore_2: the second API to start
        (bytes.fromhex("b2 0258 b60254 4d"), bytes.fromhex("b2 0277 b60254 4d")),
        # aload_2, aload_3, aload the clients' threads … invokevirtual initializeServer
        (bytes.fromhex("2c 2d 1904 b2 0258 b6026a"), bytes.fromhex("2c 2d 1904 b2 0277 b6026a")),
        # invokevirtual getListener, astore 6: the third
        (bytes.fromhex("b2 0277 b60254 3a06"), bytes.fromhex("b2 0258 b60254 3a06")),
        # aload 6, aload_3, aload its own thread … invokevirtual initializeServer
        (bytes.fromhex("1906 2d 1905 b2 0277 b6026a"), bytes.fromhex("1906 2d 1905 b2 0258 b6026a")),
        # aload_0, invokevirtual startRESTserver, astore_1 | aload_0, invokevirtual startGRPCServers
        (bytes.fromhex("2a b600b0 4c 2a b600b4"), bytes.fromhex("2a b600b0 4c 00 000000")),
    ],
    "org/pytorch/serve/http/HttpRequestHandler.class": [
        (
            _text("org/pytorch/serve/archive/DownloadArchiveException"),
            _text("io/netty/handler/codec/DecoderException"),
        ),
        (
            # from 0 to 73, go to | 237 (403) | for class 130, an IllegalArgumentException
            bytes.fromhex("0000 0049 00ed 0082"),
            # from 0 to 73, go to | 99 (400) | for class 130
            bytes.fromhex("0000 0049 0063 0082"),
        ),
        (_text("java/lang/OutOfMemoryError"), _text("java/lang/IllegalStateException")),
        (_text("INSUFFICIENT_STORAGE"), _text("TOO_MANY_REQUESTS")),
        (_text("org/pytorch/serve/util/NettyUtils"), _text("signet/Errors")),
    ],
}


def classpath(folder: Path) -> str:
    """Java class path of the frontend, with the classes that were changed before those that TorchServe ships.

    Args:
        folder: where to write those classes.

    Raises:
        RuntimeError: this TorchServe's classes are not those of 0.12.0.
    """
    with zipfile.ZipFile(JARS / "model-server.jar") as jar:
        for name, changes in _CHANGES.items():
            content = jar.read(name)
            for shipped, other in changes:
                if content.count(shipped) != 1:
                    raise RuntimeError(
                        f"TorchServe's {name} is not the one of 0.12.0, whose code is known: install 0.12.0."
                    )
                content = content.replace(shipped, other)
            changed = folder / name
            changed.parent.mkdir(parents=True, exist_ok=True)
            changed.write_bytes(content)
    return f"{folder}:{OURS}:{JARS}/*"
