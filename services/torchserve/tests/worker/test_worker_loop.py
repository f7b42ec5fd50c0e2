"""TorchServe's messages, held against TorchServe's own reader and writer."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import nullcontext
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signet_torchserve.worker import worker_loop
from signet_torchserve.worker.worker_loop import Answer, Request
from ts.context import Context, RequestProcessor
from ts.protocol import otf_message_handler
from ts.service import Service

HEADERS = {"X-Model-Version": "7", "more": "ü"}

_names = st.text(max_size=8).map(str.encode)
_requests = st.fixed_dictionaries(
    {
        "id": _names,
        "headers": st.lists(
            st.tuples(_names | st.sampled_from([b"explain", b"body"]), _names | st.sampled_from([b"True", b"False"])),
            max_size=3,
        ),
        "parameters": st.lists(st.tuples(_names | st.just(b"body"), _names, st.binary(max_size=3000)), max_size=3),
    }
)
_answers = st.builds(
    Answer,
    st.binary(max_size=300),
    st.sampled_from(["", "application/json"]),
    st.sampled_from([200, 400]),
    st.sampled_from([1, 2, 100_000]),
)


def field(content: bytes) -> bytes:
    return struct.pack("!i", len(content)) + content


def message(requests: list[dict[str, Any]]) -> bytes:
    """A batch as TorchServe's ModelRequestEncoder writes it."""
    end = struct.pack("!i", -1)
    parts = [b"I"]
    for request in requests:
        parts.append(field(request["id"]))
        parts += [field(part) for header in request["headers"] for part in header]
        parts.append(end)
        parts += [field(part) for parameter in request["parameters"] for part in parameter]
        parts.append(end)
    return b"".join(parts) + end


@pytest.fixture(autouse=True)
def _bodies_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `decode_input_request=false` of config.properties has it."""
    monkeypatch.setenv("TS_DECODE_INPUT_REQUEST", "false")


def received(read: Any, content: bytes, piece: int) -> Any:
    """What `read` makes of a message that arrives in pieces."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pieces = [content[start : start + piece] for start in range(0, len(content), piece)]
        sender = threading.Thread(target=lambda: [theirs.sendall(part) for part in pieces])
        sender.start()
        read_whole = read(ours)
        sender.join()
        return read_whole


def _repeated(names: list[str]) -> str | None:
    """The last name that was there before."""
    return next((name for at, name in reversed(list(enumerate(names))) if name in names[:at]), None)


@given(requests=st.lists(_requests, max_size=4), piece=st.integers(1, 5000))
def test_a_batch_is_read_as_torchserve_reads_it(requests: list[dict[str, Any]], piece: int) -> None:
    """Identifiers, fields and what is asked for are those that TorchServe finds, however the message was cut."""
    content = message(requests)
    _, by_torchserve = received(otf_message_handler.retrieve_msg, content, piece)
    headers, fields, identifiers = Service.retrieve_data_for_inference(by_torchserve)
    assert received(worker_loop.read_batch, content, piece) == [
        Request(
            identifiers[index].encode(),
            fields[index],
            # A header called `body` would take the place of the field's media type.
            next((media.decode() for name, media, _ in reversed(request["parameters"]) if name == b"body"), ""),
            headers[index].get_request_property("explain") == "True",
            _repeated([name.decode() for name, _, _ in request["parameters"]]),
        )
        for index, request in enumerate(requests)
    ]


def test_a_large_body_is_read_whole() -> None:
    """A body of many pieces comes back as it was sent."""
    body = bytes(range(256)) * 40_000
    (request,) = received(
        worker_loop.read_batch, message([{"id": b"1", "headers": [], "parameters": [(b"body", b"", body)]}]), 100_000
    )
    assert request.fields == {"body": body}


def test_a_worker_ends_when_its_frontend_is_gone() -> None:
    """A connection that is closed, even within a message, ends the process without a fault."""
    ours, theirs = socket.socketpair()
    with ours:
        theirs.sendall(message([{"id": b"1", "headers": [], "parameters": []}])[:-6])
        theirs.close()
        with pytest.raises(SystemExit) as caught:
            worker_loop.read_batch(ours)
        assert caught.value.code == 0


def test_no_other_message_is_read() -> None:
    """A message that holds no requests is an error of the server, not an empty batch."""
    with pytest.raises(ValueError, match=r"Expected a message of the kind 73, got 76\."):
        received(worker_loop.read_batch, b"L" + message([])[1:], 100)


def served(handle: Any, requests: list[dict[str, Any]]) -> bytes:
    """What a worker with this handler sends in response to a batch."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(message(requests))
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(SystemExit):
            worker_loop.serve(ours, handle, HEADERS, nullcontext())
        ours.close()
        return b"".join(iter(lambda: theirs.recv(1 << 20), b""))


def identified(count: int) -> list[dict[str, Any]]:
    return [{"id": f"id{index}".encode(), "headers": [], "parameters": []} for index in range(count)]


@given(answers=st.lists(_answers, max_size=4))
def test_a_batch_is_answered_as_torchserve_answers_it(answers: list[Answer]) -> None:
    """The response is TorchServe's own, but for the media type, which it would send twice."""
    context = Context("", "", {}, 32, None, "0.12.0")
    context.request_processor = [RequestProcessor({}) for _ in answers]
    for index, answer in enumerate(answers):
        for header in HEADERS.items():
            context.set_response_header(index, *header)
        if answer.rows != 1:
            context.set_response_header(index, "X-Signet-Rows", str(answer.rows))
        context.set_response_status(answer.status, {200: "OK", 400: "Bad Request"}[answer.status], index)
    media = [answer.content_type for answer in answers]
    context.get_response_content_type = media.__getitem__
    identifiers = {index: f"id{index}" for index in range(len(answers))}
    expected = otf_message_handler.create_predict_response(
        [answer.body for answer in answers], identifiers, "Prediction success", 200, context
    )
    assert served(lambda _: answers, identified(len(answers))) == expected


class Recorder:
    """What is in flight, as it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __enter__(self) -> None:
        self.told.append("begins")

    def __exit__(self, *_: object) -> None:
        self.told.append("ends")


def test_an_undecided_request_stays_in_flight() -> None:
    """A batch of which a request is undecided has not ended: its worker is busy until that is answered too."""
    ours, theirs = socket.socketpair()
    recorder = Recorder()
    rounds = iter([[Answer(b"1", ""), None], [None], [Answer(b"2", "")]])

    def handle(batch: list[Request]) -> Any:
        recorder.told.append(f"{len(batch)} requests")
        return next(rounds)

    def ask() -> None:
        for count in (2, 1, 1):
            theirs.sendall(message(identified(count)))
            theirs.recv(1 << 16)
        theirs.shutdown(socket.SHUT_WR)

    with ours, theirs:
        frontend = threading.Thread(target=ask)
        frontend.start()
        with pytest.raises(SystemExit):
            worker_loop.serve(ours, handle, {}, recorder)
        frontend.join()
    assert recorder.told == ["begins", "2 requests", "1 requests", "1 requests", "ends"]


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (KeyError("x"), 503, "Prediction failed"),
        (MemoryError(), 507, "Out of resources"),
        (RuntimeError("CUDA out of memory"), 507, "Out of resources"),
    ],
)
def test_a_fault_of_the_server_is_no_rejection(error: Exception, status: int, reason: str) -> None:
    """What the handler raises is a 5xx for its batch, as TorchServe has it, and the worker goes on."""

    def fails(_: list[Request]) -> NoReturn:
        raise error

    assert served(fails, identified(2)) == otf_message_handler.create_predict_response(
        None, {0: "id0", 1: "id1"}, reason, status
    )


def test_too_few_answers_are_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """No request is left without its own answer, and the log says why the batch failed."""
    assert served(lambda _: [], identified(1)).startswith(struct.pack("!i", 503))
    assert "ValueError: zip() argument" in capsys.readouterr().err
