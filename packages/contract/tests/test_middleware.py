from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
import uvicorn
from fastapi import FastAPI, Request
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec
from numpy import dtype
from signet_contract import Contract, Rejected
from signet_contract.middleware import MODEL_INPUT, ContractMiddleware

COLUMNS_DOCUMENT = ModelSignature(Schema([ColSpec("double", "km"), ColSpec("double", "minutes")])).to_dict()
COLUMNS = Contract(COLUMNS_DOCUMENT)
TENSORS = Contract(ModelSignature(Schema([TensorSpec(dtype("float32"), (-1, 2))])).to_dict())
RIGHT = b'{"inputs": {"km": [5.5], "minutes": [12.5]}}'
WRONG = b'{"inputs": {"km": [5.5], "minutes": ["x"]}}'
JSON = (b"content-type", b"application/json")


class Echo:
    """An ASGI app that answers with what it got, and remembers the scopes that it was called with."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.received: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            self.received.append(message := await receive())
            body, more = body + message.get("body", b""), message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
        self.received.append(await receive())


class Answer:
    """What a client got, of an app that is called as a server calls it."""

    def __init__(self, sent: list[Any]) -> None:
        self.started = [message for message in sent if message["type"] == "http.response.start"]
        self.status = self.started[0]["status"] if self.started else None
        self.headers = dict(self.started[0]["headers"]) if self.started else {}
        self.body = b"".join(message["body"] for message in sent if message["type"] == "http.response.body")

    def json(self) -> Any:
        return json.loads(self.body)


def scope(method: str = "POST", path: str = "/invocations", headers: Any = (JSON,), **more: Any) -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "headers": list(headers), **more}


def ask(app: Any, *chunks: bytes, in_scope: Any = None, is_whole: bool = True) -> Answer:
    """Call an app with the chunks of a body; the client is gone after them."""
    messages: list[Any] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    if is_whole:
        messages[-1]["more_body"] = False
    waiting, sent = iter([*messages, {"type": "http.disconnect"}]), []

    async def receive() -> Any:
        return next(waiting)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope() if in_scope is None else in_scope, receive, send))
    return Answer(sent)


@pytest.mark.parametrize(
    ("contract", "body", "media"),
    [
        (COLUMNS, RIGHT, b"application/json"),
        (COLUMNS, b" " + RIGHT + b"\n", b""),
        (COLUMNS, b"km,minutes\n5.5,12.5\n", b"text/csv"),
        (COLUMNS, b'{"inputs": {"km": [5.5], "minutes": [1e1]}}', b"application/json; charset=utf-8"),
        (COLUMNS, b'{"dataframe_records": [' + b",".join([b'{"km": 5.5, "minutes": 1.5}'] * 9999) + b"]}", b""),
        (TENSORS, b'{"inputs": [[5, 12]]}', b"application/json"),
        (TENSORS, b'{"instances": [[5.5, 12.5], [1.5, 2.5]]}', b"application/json"),
    ],
    ids=["columns", "spaces", "CSV", "another writing", "large", "a whole tensor", "tensor"],
)
@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_what_is_right_goes_on_byte_for_byte(contract: Contract, body: bytes, media: bytes, size: int) -> None:
    """In however many chunks it comes, with what to call the model with beside it."""
    if len(body) > 10**5 and size < 10**6:
        size *= 1000
    echo = Echo()
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    answer = ask(ContractMiddleware(echo, contract), *chunks, in_scope=scope(headers=[(b"content-type", media)]))
    assert (answer.status, answer.body) == (200, body)
    assert echo.scopes[0][MODEL_INPUT].inputs.tolist() == contract.check(body, media.decode()).inputs.tolist()
    assert echo.received[-1] == {"type": "http.disconnect"}, "later messages pass through"


@pytest.mark.parametrize(
    ("contract", "body", "media"),
    [
        (COLUMNS, WRONG, ""),
        (COLUMNS, b'{"inputs": {"km": [5.5], "minutes": [12]}}', "application/json"),
        (COLUMNS, b'{"inputs": {"km": [5.5]}}', "application/json"),
        (COLUMNS, b'{"inputs": {"km": [5.5], "minutes": [null], "x": [1]}}', "application/json"),
        (COLUMNS, b"", "application/json"),
        (COLUMNS, b"{", "application/json"),
        (COLUMNS, b"km\n5.5\n", "text/csv"),
        (COLUMNS, b"data=%5B%5D", "application/x-www-form-urlencoded"),
        (COLUMNS, b'{"dataframe_records": [' + b'{"km": 5.5, "minutes": "x"},' * 9999 + b"{}]}", "application/json"),
        (TENSORS, b'{"inputs": [[1.5]]}', "application/json"),
        (TENSORS, b'{"inputs": [[1.5, NaN]]}', "application/json"),
    ],
)
def test_what_is_wrong_gets_the_contracts_own_document(contract: Contract, body: bytes, media: str) -> None:
    """The app never sees it."""
    with pytest.raises(Rejected) as rejected:
        contract.check(body, media)
    echo = Echo()
    asked = scope(headers=[(b"content-type", media.encode())])
    for about in ({}, {"model": "fare", "version": "3"}):
        answer = ask(ContractMiddleware(echo, contract, about=about), body, in_scope=asked)
        assert answer.status == rejected.value.status == 400
        assert answer.json() == json.loads(json.dumps(rejected.value.document(**about)))
        assert answer.headers == {b"content-type": b"application/json", b"content-length": b"%d" % len(answer.body)}
    assert not echo.scopes


@pytest.mark.parametrize(
    ("passing", "is_checked"),
    [
        (scope(), True),
        (scope(path="/score"), True),
        (scope(path="/api/score", root_path="/api"), True),
        (scope(path="/score", root_path="/api"), True),
        (scope("GET"), False),
        (scope("OPTIONS"), False),
        (scope(path="/other"), False),
        (scope(path="/invocations/1"), False),
        ({"type": "lifespan"}, False),
        ({"type": "websocket", "path": "/invocations", "headers": []}, False),
    ],
)
def test_only_posts_to_the_paths_are_checked(passing: Any, *, is_checked: bool) -> None:
    """All else reaches the app in the scope that it came with."""
    echo = Echo()
    answer = ask(ContractMiddleware(echo, COLUMNS, ["/invocations", "/score"]), WRONG, in_scope=passing)
    assert (answer.status == 400, not echo.scopes) == (is_checked, is_checked)
    assert is_checked or echo.scopes[0] is passing


def test_paths_are_several() -> None:
    """A text would be a collection of letters, and nothing would be checked."""
    with pytest.raises(TypeError, match="expected a collection of paths"):
        ContractMiddleware(Echo(), COLUMNS, "/invocations")


@pytest.mark.parametrize("headers", [[JSON], [JSON, (b"content-length", b"101")]])
@pytest.mark.parametrize("chunks", [[b" " * 101], [b" " * 100, b" "], [b" " * 60] * 9])
def test_a_body_beyond_the_limit_is_a_413(headers: Any, chunks: list[bytes]) -> None:
    """It is answered when that is known, and then taken to its end, so that its client can read the answer."""
    echo = Echo()
    answer = ask(ContractMiddleware(echo, COLUMNS, max_bytes=100), *chunks, in_scope=scope(headers=headers))
    assert answer.status == 413
    assert answer.json() == {
        "code": 413,
        "type": "RequestTooLarge",
        "message": "The body has more than 100 bytes, the most that a request may have.",
    }
    assert not echo.scopes
    assert ask(ContractMiddleware(echo, COLUMNS, max_bytes=len(RIGHT)), RIGHT).status == 200


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate, gzip", b"br", b"zstd", b"x" * 5000])
def test_a_compressed_body_is_a_415(encoding: bytes) -> None:
    """It says what is served instead."""
    echo = Echo()
    answer = ask(ContractMiddleware(echo, COLUMNS), RIGHT, in_scope=scope(headers=[(b"content-encoding", encoding)]))
    assert (answer.status, answer.json()["type"]) == (415, "UnsupportedContentEncoding")
    assert answer.headers[b"accept-encoding"] == b"identity"
    assert encoding.decode()[:400] in answer.json()["message"]
    assert len(answer.json()["message"]) < 700
    for identity in (b"identity", b" Identity ", b""):
        asked = scope(headers=[(b"content-encoding", identity)])
        assert ask(ContractMiddleware(echo, COLUMNS), RIGHT, in_scope=asked).status == 200


def test_a_client_that_goes_away_early_reaches_nobody() -> None:
    """Half a body may be a right one."""
    echo = Echo()
    assert ask(ContractMiddleware(echo, COLUMNS), RIGHT, is_whole=False).status is None
    assert not echo.scopes


@pytest.mark.parametrize("order", [[b"application/json", b"text/csv"], [b"text/csv", b"application/json"]])
def test_of_two_content_types_the_first_holds(order: list[bytes]) -> None:
    """As it does for the app."""
    asked = scope(headers=[(b"content-type", media) for media in order])
    assert ask(ContractMiddleware(Echo(), COLUMNS), RIGHT, in_scope=asked).status == (
        200 if b"json" in order[0] else 400
    )


def test_a_decision_that_takes_too_long_is_a_504(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Those who were to decide never come."""
    monkeypatch.setenv("SIGNET_ENFORCEMENT", str(tmp_path / "nobody"))
    contract = Contract({"inputs": ModelSignature(Schema([ColSpec("double", "a")])).to_dict()["inputs"]}, timeout_s=0.2)
    answer = ask(ContractMiddleware(Echo(), contract), b'{"inputs": {"a": ["x"]}}')
    assert (answer.status, answer.json()["type"]) == (504, "DecidedTooLate")


class Slow(Contract):
    """A contract whose enforcement begins when told."""

    def __init__(self, began: threading.Event, goes_on: threading.Event) -> None:
        super().__init__({"inputs": '[{"type": "double", "name": "a"}]'})
        self.began, self.goes_on = began, goes_on

    def enforce(self, *arguments: Any, **more: Any) -> Any:
        self.began.set()
        assert self.goes_on.wait(30)
        return super().enforce(*arguments, **more)


def test_the_loop_stays_free_while_enforcement_decides() -> None:
    """A right request is answered while a wrong one is undecided."""
    began, goes_on = threading.Event(), threading.Event()
    with served(ContractMiddleware(FastAPI(), Slow(began, goes_on), ["/x"])) as url:
        answers: list[int] = []
        wrong = threading.Thread(
            target=lambda: answers.append(
                requests.post(f"{url}/x", b'{"inputs": {"a": ["x"]}}', timeout=60).status_code
            )
        )
        wrong.start()
        assert began.wait(30)
        assert requests.post(f"{url}/x", b'{"inputs": {"a": [1.5]}}', timeout=10).status_code == 404, "FastAPI's own"
        assert answers == []
        goes_on.set()
        wrong.join()
        assert answers == [400]


@contextmanager
def served(app: Any) -> Iterator[str]:
    """A uvicorn that serves an app on loopback until the context ends, and its address."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A FastAPI behind the middleware that doubles its inputs."""
    app = FastAPI()
    app.add_middleware(ContractMiddleware, contract=COLUMNS, max_bytes=10**6)

    @app.post("/invocations")
    async def double(request: Request) -> Any:
        body = await request.json()
        return {"got": body, "predictions": (2 * request.scope[MODEL_INPUT].inputs).tolist()}

    with served(app) as address:
        yield f"{address}/invocations"


def test_fastapi_reads_what_was_checked(url: str) -> None:
    """Body and model input reach an endpoint; a wrong body never does."""
    answer = requests.post(url, RIGHT, timeout=60)
    assert answer.json() == {"got": json.loads(RIGHT), "predictions": [[11.0, 25.0]]}
    wrong = requests.post(url, WRONG, timeout=60)
    assert (wrong.status_code, wrong.json()["errors"][0]["column"]) == (400, "minutes")


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("size", [10**6 + 1, 3 * 10**7])
def test_a_client_can_read_the_413_of_a_body_that_is_still_to_come(url: str, size: int, *, is_chunked: bool) -> None:
    """And its connection goes on."""
    body: Callable[[], Any] = lambda: iter([b" " * 10**5] * (size // 10**5 + 1)) if is_chunked else b" " * size  # noqa: E731 -- made anew for each request
    with requests.Session() as session:
        for _ in range(2):
            assert session.post(url, body(), timeout=60).json()["code"] == 413
            assert session.post(url, RIGHT, timeout=60).status_code == 200


def test_requests_that_are_decided_at_the_same_time_stay_apart() -> None:
    """Enforcement, in many threads at once, gives each what it gives it alone."""
    contract = Contract(COLUMNS_DOCUMENT, policy=["nulls"])
    values = [[index + 0.5, None if index % 3 else "x"] for index in range(60)]
    bodies = [json.dumps({"dataframe_split": {"columns": ["km", "minutes"], "data": [row] * 3}}) for row in values]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"inputs": repr(scope[MODEL_INPUT].inputs), "body": (await receive())["body"]})

    async def sent(body: str) -> list[Any]:
        messages: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body.encode()}

        async def send(message: Any) -> None:
            messages.append(message)

        await ContractMiddleware(app, contract)(scope(), receive, send)
        return messages

    async def both() -> tuple[list[Any], list[Any]]:
        return await asyncio.gather(*map(sent, bodies)), [await sent(body) for body in bodies]

    together, alone = asyncio.run(both())
    assert together == alone
    assert sum("inputs" in messages[0] for messages in alone) == 40
