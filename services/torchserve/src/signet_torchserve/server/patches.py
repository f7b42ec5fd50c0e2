"""What is changed in the classes of TorchServe's frontend: TorchServe 0.12 is the last, and it is pinned.

Each patch changes some bytes of some classes, as a whole or not at all. `frontend` leaves out a patch that does not fit
the installed jar: then TorchServe does that one thing in its own way.

Source: https://github.com/pytorch/serve/tree/v0.12.0/frontend/server/src/main/java/org/pytorch/serve
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Change:
    """Bytes that stand in a class once, and what takes their place."""

    shipped: bytes
    other: bytes
    shipped_class: str = ""
    """A class of TorchServe's or Netty's whose place one of ours takes, `our_class`."""
    our_class: str = ""


@dataclass(frozen=True, slots=True)
class Patch:
    """One thing that TorchServe does in another way."""

    name: str
    purpose: str
    """How TorchServe does it with this patch."""
    lost: str
    """How TorchServe does it without this patch."""
    changes: Mapping[str, Sequence[Change]]
    """By the class that they are made in."""
    needs: str = ""
    """Another patch, without which this one would do harm."""


def _code(shipped: str, other: str) -> Change:
    """Instructions, in hexadecimal; the change stands between the bars of the comment above."""
    return Change(bytes.fromhex(shipped), bytes.fromhex(other))


def _text(shipped: str, other: str) -> Change:
    """A text of the constant pool, such as a method's name."""
    first, second = (b"\x01" + len(text).to_bytes(2) + text.encode() for text in (shipped, other))
    return Change(first, second)


def _class(shipped: str, other: str) -> Change:
    """One of our classes in the place of another."""
    change = _text(shipped, other)
    return replace(change, shipped_class=shipped, our_class=other)


_MODEL = "org/pytorch/serve/wlm/Model.class"
_REQUEST_HANDLER = "org/pytorch/serve/http/HttpRequestHandler.class"
_MODEL_SERVER = "org/pytorch/serve/ModelServer.class"
_ERRORS = _class("org/pytorch/serve/util/NettyUtils", "signet/Errors")

# `Model.pollBatch` takes the first request of the queue and then, up to `batch_size`, those that come within
# `max_batch_delay` milliseconds. So a request that is alone waits out the delay. With a delay of 0 the loop ends after
# the second request, for `if (maxDelay <= 0) break` comes after each. Without that line a delay of 0 means: take all
# that is queued, wait for nothing. `make bench BENCH='--only noop,noop_batched,noop_waiting'` shows what each way
# gains.
_BATCHES = Patch(
    name="batches",
    purpose="A batch is all that is queued, and nobody waits for more.",
    lost="With a max_batch_delay of 0 a batch has two requests at most.",
    changes={
        _MODEL: [
            # lload maxDelay | lconst_0, lcmp | ifgt (next request), goto (end): is there time left?
            # lload maxDelay | pop2, iconst_1 | ifgt (next request), goto (end): there always is.
            _code("1606 0994 9d0006 a7", "1606 5804 9d0006 a7"),
            # The same in pollInferJob.
            _code("1605 0994 9d0006 a7", "1605 5804 9d0006 a7"),
        ]
    },
)

# A `BatchAggregator` waits for the answers to all requests of a batch, and its worker gets no other batch meanwhile.
# `ContinuousBatching`, meant for models that answer token by token, keeps a request until it is answered, and names it
# to the worker again with the next batch, without its body. Every model gets that aggregator, with three changes.
# 1. `sendResponse` sends a part of the answer to a request that goes on (`ts_stream_next`). Now it sends nothing if the
#    status of that part is 102 (Processing). This replaces a test for a request's own time limit: none of ours has one.
# 2. `getRequest` lets a request that is kept take the place of a new one in the next batch. Now a batch has up to
#    `batch_size` new ones beside those.
# 3. Java has a thread for each worker. The thread of an idle worker holds its version's lock while it waits for a
#    request; the thread of another worker, which has kept requests to send, waits for that lock. `Model.pollInferJob`
#    takes no lock any more: the queue has its own. The `finally` stays: it unlocks only if its thread has the lock.
UNDECIDED = Patch(
    name="undecided requests",
    purpose="A request on which enforcement is deciding keeps nobody waiting.",
    lost="The other requests of its batch wait for the decision, too.",
    changes={
        _MODEL: [
            # incNumJobTickets, pop, | aload this, getfield lock, invokevirtual lockInterruptibly, | aload, getfield
            # … | seven times nop | …
            _code("b6022d 57 2a b40100 b601b8 2a b400ef 12f2", "b6022d 57 00 000000 000000 2a b400ef 12f2"),
        ],
        "org/pytorch/serve/wlm/WorkLoadManager.class": [
            # aload model, invokevirtual isContinuousBatching, | ifeq (other aggregators), | new ContinuousBatching
            # … | pop, nop, nop | …
            _code("2c b6014f 990010 bb015a", "2c b6014f 570000 bb015a"),
        ],
        "org/pytorch/serve/wlm/ContinuousBatching.class": [
            # invokevirtual getBatchSize, | aload this, getfield jobs, invokeinterface size, isub, | istore
            # … | ten times nop | …
            _code("b6000d 2a b40013 b900170100 64 3e", "b6000d 00 000000 0000000000 00 3e"),
            # aload job, getPayload, getClientExpireTS, invokestatic currentTimeMillis, lcmp, ifle (no response)
            # aload prediction, getStatusCode, sipush 102, five times nop, if_icmpeq (no response)
            _code("1905 b60050 b600a9 b800ad 94 9e001f", "2d b600b9 110066 0000000000 9f001f"),
        ],
    },
)

# `NettyUtils.sendHttpResponse` closes the connection after every status from 400 on: after each refused request its
# client connects anew. Now it closes the connection only after statuses above 400.
_CONNECTIONS = Patch(
    name="connections",
    purpose="A rejection does not cost the connection.",
    lost="After each rejected request its client connects anew.",
    changes={
        "org/pytorch/serve/util/NettyUtils.class": [
            # ifeq (close), iload code, sipush 400, | if_icmplt | (keep)
            # ifeq (close), iload code, sipush 400, | if_icmple | (keep)
            _code("99000b 1507 110190 a1 0026", "99000b 1507 110190 a4 0026"),
        ]
    },
)

# `HttpRequestHandler.channelRead0` answers 500 to every exception that it does not name: also to Netty's
# `DecoderException` for a form with a bad %-escape, or with a part that has no name. It names
# `DownloadArchiveException`, which never comes, as `allowed_urls` permits no download: now it names `DecoderException`
# in that place, and answers 400. A path with a bad %-escape raises an `IllegalArgumentException`, and was answered 403:
# now it is answered 400, too.
_DECODING = Patch(
    name="decoding",
    purpose="What cannot be decoded is the client's fault.",
    lost="A form with a bad %-escape gets a 500, and a path with one a 403.",
    changes={
        _REQUEST_HANDLER: [
            _text("org/pytorch/serve/archive/DownloadArchiveException", "io/netty/handler/codec/DecoderException"),
            # from 0 to 73, go to | 237 (403) | for class 130, an IllegalArgumentException
            # from 0 to 73, go to | 99 (400) | for class 130
            _code("0000 0049 00ed 0082", "0000 0049 0063 0082"),
        ]
    },
)

# TorchServe takes a prediction in any method and with any Content-Encoding. JSON that `curl -d` sends without a header
# is lost, as TorchServe reads it as a form. `java/signet/Requests.java` answers other methods with 405 and encodings
# with 415, and calls that JSON what it is. `java/signet/Errors.java` words these answers, and those to a form that
# Netty cannot read.
_REQUESTS = Patch(
    name="requests",
    purpose="A request that no worker could read is refused before one gets it.",
    lost="JSON that is called a form is a 400, any method is served, and the errors have TorchServe's own words.",
    changes={_REQUEST_HANDLER: [_ERRORS]},
)

# TorchServe answers 503 "has no worker … scale workers" both where a version has no worker and where its queue is full.
# `Model.addJob` now calls the queue's `add` in place of `offer`, so that a full queue raises an
# `IllegalStateException`. `HttpRequestHandler.channelRead0` named `OutOfMemoryError`, which ends this Java anyway: now
# it names `IllegalStateException` in that place, and answers 429. `java/signet/Errors.java` words it, with Retry-After,
# and tells other such exceptions apart. So the gateway asks another replica where the version is not there (404, 503),
# and not where that would only multiply an overload.
_OVERLOAD = Patch(
    name="overload",
    purpose="A full queue says that it is full: 429.",
    lost="A request that finds the queue full gets the 503 of a version that has no worker.",
    changes={
        _MODEL: [_text("offer", "add")],
        _REQUEST_HANDLER: [
            _text("java/lang/OutOfMemoryError", "java/lang/IllegalStateException"),
            _text("INSUFFICIENT_STORAGE", "TOO_MANY_REQUESTS"),
        ],
    },
    needs="requests",
)

# `java/signet/Errors.java` words the errors of a request that a worker had. If a request from the gateway ends the
# first worker that gets it, the answer is a 502, and the gateway asks again.
_WORKERS = Patch(
    name="workers",
    purpose="A request that its worker did not answer is told why.",
    lost="A request whose worker dies is not asked for again, and the errors have TorchServe's own words.",
    changes={"org/pytorch/serve/job/RestJob.class": [_ERRORS]},
)

# `WorkerThread.run` answers 500 "Worker died." if a worker died with a request, and also if it ends the worker because
# the request takes too long. The latter is a 504 now: another replica would lose a worker, too.
_TIME_OUTS = Patch(
    name="time-outs",
    purpose="A time-out is a 504.",
    lost="A request that takes longer than serving.timeout_s gets a 500.",
    changes={
        "org/pytorch/serve/wlm/WorkerThread.class": [
            # invokevirtual incrFailedInfReqs, | istore 17, and a line of the log | new WorkerInitializationException
            # invokevirtual incrFailedInfReqs, | pop, nop, sipush 504, istore_2 (the status), 12 nop | new …
            _code(
                "b6019e 3611 b200ca 1301a1 1511 b80155 b901a30300 bb01a5",
                "b6019e 57 00 1101f8 3d 000000000000000000000000 bb01a5",
            ),
        ]
    },
)

# Netty's `HttpObjectAggregator` answers an empty 413. It may close the connection while the client sends: then the
# client loses the answer. It waits for ever for a body that does not come. `ServerInitializer` takes
# `java/signet/Aggregator.java` in its place.
_BODY_LIMIT = Patch(
    name="body limit",
    purpose="A body that is too large is told the limit, and one that comes too slowly is not waited for.",
    lost="The 413 of a body that is too large is empty, and may be lost with its connection; a slow one is waited for.",
    changes={
        "org/pytorch/serve/ServerInitializer.class": [
            _class("io/netty/handler/codec/http/HttpObjectAggregator", "signet/Aggregator"),
        ]
    },
)

# The management API runs in one of the few threads that serve all clients. While it unzips an archive and waits for
# workers, that thread's clients get no answers. `ModelServer.startRESTserver` gives the metrics API a thread of its
# own: now the management API has that thread, and the metrics API one of the clients'. (Without `enable_metrics_api`,
# which is on by default, there would be no management API.)
_MANAGEMENT = Patch(
    name="management",
    purpose="To deploy keeps no client waiting.",
    lost="Some clients wait for as long as a deployment takes.",
    changes={
        _MODEL_SERVER: [
            # getstatic | 600 (MANAGEMENT_CONNECTOR) or 631 (METRICS_CONNECTOR) | each time
            # invokevirtual getListener, astore_2: the second API to start
            _code("b2 0258 b60254 4d", "b2 0277 b60254 4d"),
            # aload_2, aload_3, aload the clients' threads … invokevirtual initializeServer
            _code("2c 2d 1904 b2 0258 b6026a", "2c 2d 1904 b2 0277 b6026a"),
            # invokevirtual getListener, astore 6: the third
            _code("b2 0277 b60254 3a06", "b2 0258 b60254 3a06"),
            # aload 6, aload_3, aload its own thread … invokevirtual initializeServer
            _code("1906 2d 1905 b2 0277 b6026a", "1906 2d 1905 b2 0258 b6026a"),
        ]
    },
)

# Nobody asks for gRPC, and its management port, on the machine's loopback, would let every user of the machine register
# and delete models. `ModelServer.startAndWait` does not call `startGRPCServers` any more.
_GRPC = Patch(
    name="gRPC",
    purpose="There is no gRPC.",
    lost="Every user of this machine can register and delete models over gRPC, at a port of the loopback.",
    changes={
        _MODEL_SERVER: [
            # aload_0, invokevirtual startRESTserver, astore_1 | aload_0, invokevirtual startGRPCServers
            # … | four times nop
            _code("2a b600b0 4c 2a b600b4", "2a b600b0 4c 00 000000"),
        ]
    },
)

# `ModelServer.initializeServer` sets SO_LINGER to 0. A connection that is closed is then reset: the 429 or 404 just
# sent may be lost on its way. Now connections are closed as usual.
_CLOSING = Patch(
    name="closing",
    purpose="An answer is not lost with its connection.",
    lost="An error after which TorchServe closes the connection may not arrive.",
    changes={
        _MODEL_SERVER: [
            # getstatic SO_LINGER, | iconst_0 (reset at once) or iconst_m1 (as usual) | invokestatic Integer.valueOf
            _code("b2 01f0 03 b801c6", "b2 01f0 02 b801c6"),
        ]
    },
)

PATCHES = (
    _BATCHES,
    UNDECIDED,
    _CONNECTIONS,
    _DECODING,
    _REQUESTS,
    _OVERLOAD,
    _WORKERS,
    _TIME_OUTS,
    _BODY_LIMIT,
    _MANAGEMENT,
    _GRPC,
    _CLOSING,
)
"""Applied in this order: one that another needs comes before that one."""
